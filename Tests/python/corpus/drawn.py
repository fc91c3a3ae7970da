"""Nets of random operators: what the other families do not think of putting side by side."""

import numpy as np

from .net import Net

COUNT = 40


class Drawn:
    """A net under construction with the shapes of its values, without the axis of samples, which is the first."""

    def __init__(self, net):
        self.net, self.random = net, net.random
        shape = [(6,), (3, 5), (2, 5, 6)][self.random.integers(3)]
        self.values = [(net.x(*shape), shape)]

    def draw(self, low, high):
        return int(self.random.integers(low, high))

    def flip(self):
        return self.draw(0, 2) == 1

    def grow(self):
        """Adds a value made of one of the last; a move that does not fit it adds nothing."""
        weights = np.arange(1, len(self.values) + 1.0) ** 2
        name, shape = self.values[self.random.choice(len(self.values), p=weights / weights.sum())]
        made = MOVES[self.draw(0, len(MOVES))](self, name, shape)
        if made is not None:
            self.values.append((made[0], tuple(int(size) for size in made[1])))

    def case(self):
        for _ in range(self.draw(6, 16)):
            self.grow()
        name, shape = self.values[-1]
        if len(shape) > 1 and self.flip():
            name, shape = self.net.op("Flatten", name), (int(np.prod(shape)),)
        return self.net.case(self.net.linear(name, shape[-1], 4, bias=self.flip()))

    # Moves

    def product(self, x, shape):
        columns = self.draw(2, 8)
        return self.net.linear(x, shape[-1], columns, bias=self.flip()), (*shape[:-1], columns)

    def two_products(self, x, shape):
        columns = self.draw(2, 6)
        y = self.net.op("Add", self.net.linear(x, shape[-1], columns), self.net.linear(x, shape[-1], columns, bias=True))
        return y, (*shape[:-1], columns)

    def gemm(self, x, shape):
        if len(shape) == 1:
            turned, columns = self.flip(), self.draw(2, 8)
            w = self.net.weight(*((columns, shape[0]) if turned else (shape[0], columns)))
            return self.net.op("Gemm", x, w, *([self.net.draw(columns)] if self.flip() else []), transB=int(turned)), (columns,)

    def left_product(self, x, shape):
        if len(shape) == 2:
            rows = self.draw(2, 5)
            return self.net.op("MatMul", self.net.weight(rows, shape[0]), x), (rows, shape[1])

    def convolution(self, x, shape):
        if len(shape) == 3 and min(shape[1:]) >= 3:
            group = shape[0] if self.flip() else 1
            outputs = group * self.draw(1, 3) if group > 1 else self.draw(2, 6)
            return self.net.conv(x, shape[0], outputs, 3, 3, group=group, pads=[1] * 4, bias=self.flip()), (outputs, *shape[1:])
        if len(shape) == 2 and shape[1] >= 3:
            outputs = self.draw(2, 6)
            return self.net.conv(x, shape[0], outputs, 3, pads=[1, 1], bias=self.flip()), (outputs, shape[1])

    def activation(self, x, shape):
        types = ("Relu", "Tanh", "Sigmoid", "Sin", "Erf", "Softplus", "Elu", "LeakyRelu", "Identity")
        return self.net.op(types[self.draw(0, len(types))], x), shape

    def sum_or_product(self, x, shape):
        others = [name for name, other in self.values if other == shape]
        return self.net.op("Add" if self.flip() else "Mul", x, others[self.draw(0, len(others))]), shape

    def transposition(self, x, shape):
        order = self.random.permutation(len(shape))
        return self.net.op("Transpose", x, perm=[0, *(int(axis) + 1 for axis in order)]), [shape[axis] for axis in order]

    def samples_elsewhere(self, x, shape):
        """The axis of samples goes somewhere else and comes back."""
        order, sizes = [int(axis) for axis in self.random.permutation(len(shape) + 1)], list(shape)
        y = self.net.op("Tanh" if self.flip() else "Identity", self.net.op("Transpose", x, perm=order))
        if order[-1] != 0 and self.flip():
            columns = self.draw(2, 6)
            y = self.net.linear(y, sizes[order[-1] - 1], columns, bias=self.flip())
            sizes[order[-1] - 1] = columns
        return self.net.op("Transpose", y, perm=[int(axis) for axis in np.argsort(order)]), sizes

    def reshape(self, x, shape):
        if self.flip():
            return self.net.op("Reshape", x, np.array([0, -1])), (np.prod(shape),)
        return self.net.op("Reshape", x, np.array([0, -1, shape[-1]])), (np.prod(shape[:-1]), shape[-1])

    def concatenation(self, x, shape):
        others = [(name, other) for name, other in self.values if len(other) == len(shape) and other[1:] == shape[1:]]
        name, other = others[self.draw(0, len(others))]
        return self.net.op("Concat", x, name, axis=1), (shape[0] + other[0], *shape[1:])

    def slice(self, x, shape):
        if shape[-1] > 2:
            return self.net.cut(x, 1, shape[-1], -1), (*shape[:-1], shape[-1] - 1)

    def rows(self, x, shape):
        if len(shape) > 1:
            if self.flip():
                return self.net.op("Gather", x, np.array(-1), axis=1), shape[1:]
            return self.net.op("Gather", x, np.array([shape[0] - 1, 0]), axis=1), (2, *shape[1:])

    def mean(self, x, shape):
        if len(shape) > 1:
            return self.net.op("ReduceMean", x, axes=[1], keepdims=0), shape[1:]

    def softmax(self, x, shape):
        return self.net.op("Softmax", x, axis=-1), shape

    def normalization(self, x, shape):
        if len(shape) == 3 and self.flip():
            scale, bias, mean = (self.net.draw(shape[0], scale=.3) for _ in range(3))
            return self.net.op("BatchNormalization", x, 1 + scale, bias, mean, np.exp(mean)), shape
        if shape[-1] > 1:
            scale, bias = (self.net.draw(shape[-1], scale=.1) for _ in range(2))
            return self.net.op("LayerNormalization", x, 1 + scale, bias, axis=-1, epsilon=1e-2), shape

    def pool(self, x, shape):
        if len(shape) == 3 and min(shape[1:]) > 1:
            type = "MaxPool" if self.flip() else "AveragePool"
            return self.net.op(type, x, kernel_shape=[2, 2], strides=[2, 2]), (shape[0], shape[1] // 2, shape[2] // 2)

    def gate(self, x, shape):
        if shape[-1] % 2 == 0:
            half = shape[-1] // 2
            a, b = self.net.op("Split", x, np.array([half, half]), axis=-1, outputs=2)
            return self.net.op("Mul", a, self.net.op("Sigmoid", b)), (*shape[:-1], half)

    def attention(self, x, shape):
        if len(shape) == 2:
            scores = self.net.op("MatMul", x, self.net.op("Transpose", x, perm=[0, 2, 1]))
            return self.net.op("MatMul", self.net.op("Softmax", scores, axis=-1), x), shape

    def choice(self, x, shape):
        return self.net.op("Where", self.net.op("Greater", x, np.float32(.1)), x, np.float32(-.2)), shape


MOVES = [
    Drawn.product, Drawn.product, Drawn.two_products, Drawn.gemm, Drawn.left_product, Drawn.convolution, Drawn.convolution,
    Drawn.activation, Drawn.activation, Drawn.sum_or_product, Drawn.transposition, Drawn.samples_elsewhere, Drawn.reshape,
    Drawn.concatenation, Drawn.slice, Drawn.rows, Drawn.mean, Drawn.softmax, Drawn.normalization, Drawn.pool, Drawn.gate,
    Drawn.attention, Drawn.choice,
]


def drawn_nets():
    for number in range(COUNT):
        yield Drawn(Net(f"Drawn net {number}")).case()


FAMILIES = [drawn_nets]
