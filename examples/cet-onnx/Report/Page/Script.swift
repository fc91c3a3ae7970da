extension Page {
  /// Sorting, searching and reading points of figures by pointer or arrow keys. Without it all is there to read.
  static let script = #"""
    'use strict';
    const tip = document.getElementById('tip'), tips = document.getElementById('tips').children;
    function say(mark, svg) {
      for (const old of document.querySelectorAll('.on')) old.classList.remove('on');
      if (!mark) { tip.hidden = true; return; }
      mark.classList.add('on');
      tip.textContent = tips[mark.dataset.tip].textContent;
      tip.hidden = false;
      const place = mark.getBoundingClientRect(), box = tip.getBoundingClientRect(), room = document.documentElement.clientWidth;
      const left = Math.max(8, Math.min(room - box.width - 8, place.left + place.width / 2 - box.width / 2));
      const above = place.top - box.height - 10;
      tip.style.left = left + scrollX + 'px';
      tip.style.top = (above > 4 ? above : place.bottom + 10) + scrollY + 'px';
    }
    function near(svg, event) {
      let best = null, least = 26 * 26;
      for (const mark of svg.querySelectorAll('[data-tip]')) {
        const r = mark.getBoundingClientRect();
        const dx = Math.max(r.left - event.clientX, 0, event.clientX - r.right), dy = Math.max(r.top - event.clientY, 0, event.clientY - r.bottom);
        const cx = event.clientX - r.left - r.width / 2, cy = event.clientY - r.top - r.height / 2;
        const far = dx * dx + dy * dy + 1e-4 * (cx * cx + cy * cy);
        if (far < least) { least = far; best = mark; }
      }
      return best;
    }
    for (const svg of document.querySelectorAll('figure svg')) {
      const marks = () => [...svg.querySelectorAll('[data-tip]')];
      svg.addEventListener('pointermove', event => say(near(svg, event), svg));
      svg.addEventListener('pointerdown', event => say(near(svg, event), svg));
      svg.addEventListener('pointerleave', () => say(null));
      svg.addEventListener('blur', () => say(null));
      svg.addEventListener('keydown', event => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (event.key === 'Escape') say(null);
        if (!step || !marks().length) return;
        event.preventDefault();
        const list = marks(), at = list.findIndex(mark => mark.classList.contains('on'));
        say(list[at < 0 ? (step > 0 ? 0 : list.length - 1) : (at + step + list.length) % list.length], svg);
      });
    }
    const table = document.getElementById('table');
    if (table) {
      const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
      const value = (row, index) => {
        const cell = row.cells[index];
        if (!('v' in cell.dataset)) return cell.textContent;
        return cell.dataset.v === '' ? NaN : Number(cell.dataset.v);
      };
      heads.forEach((head, index) => head.querySelector('button').addEventListener('click', () => {
        const down = head.getAttribute('aria-sort') === 'ascending';
        for (const other of heads) other.setAttribute('aria-sort', 'none');
        head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        rows.sort((a, b) => {
          const x = value(a, index), y = value(b, index);
          if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
          const order = typeof x === 'number' ? x - y : x.localeCompare(y, undefined, { numeric: true });
          return down ? -order : order;
        });
        body.append(...rows);
      }));
      const search = document.getElementById('search'), found = document.getElementById('found');
      search.addEventListener('input', () => {
        const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
        let count = 0;
        for (const row of rows) {
          const text = row.textContent.toLowerCase();
          row.hidden = !words.every(word => text.includes(word));
          if (!row.hidden) count += 1;
        }
        found.textContent = count + ' of ' + rows.length;
      });
    }
    """#
}
