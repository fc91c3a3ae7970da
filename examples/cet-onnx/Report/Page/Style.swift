extension Page {
  /// Bits are one hue that gets darker (in the dark: lighter) with them; orange is for what was chosen. Both are told apart without
  /// colour vision, and nothing is said by colour alone.
  static let style = colours + layout + tables + drawings

  private static let colours = """
    :root { color-scheme: light dark;
      --ink: #1b2430; --soft: #55606f; --paper: #fff; --raised: #f5f7fa; --line: #d8dee6; --mark: #ffe9b3; --accent: #b4460b; --link: #16558f;
      --b1: #bcd7ee; --b2: #96c0e2; --b3: #6aa5d3; --b4: #4388c0; --b5: #2b6ca8; --b6: #1d548c; --b7: #143f6e; --b8: #0c2b50; --bf: #a9aeb6; --empty: #edf0f4; }
    @media (prefers-color-scheme: dark) { :root {
      --ink: #e8ecf1; --soft: #a3aebb; --paper: #12161c; --raised: #1a2028; --line: #313a46; --mark: #5a4408; --accent: #ff9a52; --link: #8cc4f5;
      --b1: #1d3a57; --b2: #26527c; --b3: #316c9f; --b4: #4288c0; --b5: #65a3d4; --b6: #8bbde3; --b7: #b4d6ef; --b8: #dcedf9; --bf: #6b737e; --empty: #222932; } }

    """

  private static let layout = """
    * { box-sizing: border-box; }
    body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
    header, main, footer { max-width: 808px; margin: 0 auto; padding: 0 24px; }
    header { padding-top: 40px; }
    h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3em; letter-spacing: -.01em; overflow-wrap: anywhere; }
    h2 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 .35em; }
    section { margin: 56px 0 0; }
    p { max-width: 66ch; margin: 0 0 1em; color: var(--soft); overflow-wrap: break-word; }
    .lead { font-size: 1.12rem; color: var(--ink); }
    a { color: var(--link); }
    .skip { position: absolute; left: -999px; } .skip:focus { left: 8px; top: 8px; background: var(--paper); padding: 8px; z-index: 3; }
    nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0 18px; padding: 0; margin: 22px 0 0; font-size: .9rem; }
    nav a { display: inline-block; padding: 2px 0; }
    .tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 0; margin: 26px 0 0; padding: 0; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
    .tiles div { padding: 14px 14px 14px 0; } .tiles div + div { padding-left: 16px; border-left: 1px solid var(--line); }
    .tiles dt { font-size: .82rem; color: var(--soft); } .tiles dd { margin: 0; }
    .tiles strong { display: block; font-size: 1.35rem; line-height: 1.35; font-variant-numeric: tabular-nums; } .tiles span { display: block; font-size: .82rem; line-height: 1.4; color: var(--soft); }
    .notes { list-style: none; margin: 18px 0 0; padding: 0 0 0 12px; border-left: 3px solid var(--line); font-size: .88rem; color: var(--soft); max-width: 80ch; } .notes li + li { margin-top: 4px; }
    figure { margin: 0; }
    details { margin-top: 12px; } summary { cursor: pointer; color: var(--link); font-size: .9rem; padding: 4px 0; }
    footer { margin-top: 56px; padding-bottom: 48px; color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
    :focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 2px; }
    #tip { position: absolute; z-index: 2; max-width: min(340px, calc(100vw - 16px)); padding: 7px 10px; border-radius: 4px; background: var(--ink); color: var(--paper);
      font-size: 13px; line-height: 1.4; pointer-events: none; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
    @media (max-width: 640px) {
      header, main, footer { padding-left: 16px; padding-right: 16px; } header { padding-top: 24px; } section { margin-top: 44px; }
      .tiles { grid-template-columns: 1fr 1fr; } .tiles div:nth-child(3) { padding-left: 0; border-left: 0; }
      .tiles div:nth-child(n+3) { border-top: 1px solid var(--line); } h1 { font-size: 1.55rem; } }

    """

  private static let tables = """
    .box { overflow-x: auto; max-width: 100%; } .box:has(#table) { max-height: 80vh; overflow: auto; border-bottom: 1px solid var(--line); }
    details .box { max-height: 60vh; overflow: auto; }
    table { border-collapse: collapse; font-size: .86rem; line-height: 1.4; }
    caption { text-align: left; color: var(--soft); padding-bottom: 6px; }
    th, td { padding: 6px 16px 6px 0; text-align: left; vertical-align: top; font-weight: 400; border-bottom: 1px solid var(--line); }
    thead th { position: sticky; top: 0; background: var(--paper); font-weight: 600; white-space: nowrap; z-index: 1; }
    .num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } .nowrap { white-space: nowrap; }
    th small { display: block; color: var(--soft); font-size: .8rem; } #table th[scope=row] { min-width: 210px; max-width: 300px; overflow-wrap: anywhere; }
    #table th, #table td { padding-right: 12px; } .why { min-width: 300px; color: var(--soft); font-size: .82rem; line-height: 1.35; }
    @media (min-width: 900px) { #tensors .box { max-width: none; width: min(1240px, 100vw - 48px); margin-left: calc(380px - min(620px, 50vw - 24px)); } }
    th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
    th button span::after { content: "↕"; opacity: .45; padding-left: 4px; font-size: 12px; }
    [aria-sort=ascending] span::after { content: "↑" !important; opacity: 1 !important; } [aria-sort=descending] span::after { content: "↓" !important; opacity: 1 !important; }
    mark { background: var(--mark); color: inherit; padding: 1px 4px; margin: 0 -4px; border-radius: 2px; }
    .chip { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px; background: var(--c); }
    .tools { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; font-size: .9rem; }
    input { font: inherit; font-size: 1rem; color: inherit; background: var(--raised); border: 1px solid var(--line); border-radius: 4px; padding: 6px 10px; width: min(300px, 100%); }
    .facts th { font-weight: 600; white-space: nowrap; } .facts td { overflow-wrap: anywhere; }
    @media (max-width: 640px) { .facts, .facts tbody, .facts tr, .facts th, .facts td { display: block; } .facts th { border: 0; padding-bottom: 0; } }

    """

  private static let drawings = """
    figure svg { display: block; width: 100%; height: auto; } .wide { max-width: var(--w); } .narrow { display: none !important; max-width: 420px; }
    @media (max-width: 800px) { .wide { display: none !important; } .narrow { display: block !important; } }
    svg text { fill: var(--ink); font: 12.5px system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; font-variant-numeric: tabular-nums; }
    svg .soft { fill: var(--soft); } svg .axis { fill: var(--soft); font-weight: 600; } svg .strong { font-weight: 600; } svg .accent-text { fill: var(--accent); font-weight: 600; }
    svg .halo { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
    .grid { stroke: var(--line); } .tick { stroke: var(--soft); } .leader { stroke: var(--soft); stroke-width: 1; } .reference { stroke: var(--soft); stroke-dasharray: 4 4; fill: none; } .stem { stroke: var(--b3); stroke-width: 2; }
    .front { fill: none; stroke: var(--b5); stroke-width: 2; } .front-dot { fill: var(--b5); } .band { fill: var(--b3); fill-opacity: .22; } .level { fill: none; stroke: var(--b5); stroke-width: 1.6; }
    .accent { fill: var(--accent); stroke: var(--paper); stroke-width: 1.5; } .open { fill: var(--paper); stroke: var(--ink); stroke-width: 1.8; } .other { fill: var(--paper); stroke: var(--soft); stroke-width: 1.8; }
    .whisker { stroke: var(--accent); stroke-width: 2.5; } .whisker-soft { stroke: var(--soft); stroke-width: 2.5; } .median { stroke: var(--ink); stroke-width: 2.5; }
    .ring { stroke: var(--accent); stroke-width: 2; } .bar { fill: var(--bf); } .empty { fill: var(--empty); } .hit { fill: transparent; }
    .more { fill: var(--accent); } .less { fill: var(--b5); } .own { fill: var(--bf); }
    .b1 { fill: var(--b1); --c: var(--b1); } .b2 { fill: var(--b2); --c: var(--b2); } .b3 { fill: var(--b3); --c: var(--b3); } .b4 { fill: var(--b4); --c: var(--b4); }
    .b5 { fill: var(--b5); --c: var(--b5); } .b6 { fill: var(--b6); --c: var(--b6); } .b7 { fill: var(--b7); --c: var(--b7); } .b8 { fill: var(--b8); --c: var(--b8); } .bf { fill: var(--bf); --c: var(--bf); }
    svg .on { stroke: var(--accent); stroke-width: 2; } svg .hit.on { fill: var(--accent); fill-opacity: .08; stroke: none; }
    @media print { .tools, nav, .skip { display: none; } section { break-inside: avoid; } }
    """
}
