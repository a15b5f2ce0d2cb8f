"""The op kinds that random steps are made of: each a line of Python over typed operands.

The type of a tensor is the first letter of its name: `s` a scalar, `v` a vector of 4, `m` a matrix of 4 by 4,
`t` a stack of two matrices, `l` a matrix of 8 by 4, all float64; `f` and `h` matrices of float32 and float16, `c` one
of complex128, `i` four integers from 0 to 3, `b` a matrix of booleans, `p` one boolean.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """`template` has `{0}`, `{1}`… for operands of the types `takes`, and makes tensors of the types `gives`.

    `is_constant` says that its value does not depend on its operands; `stops` that none of them gets a gradient other
    than zero.
    """

    template: str
    takes: str
    gives: str
    is_constant: bool = False
    stops: bool = False

    @property
    def takes_operands_whole(self) -> bool:
        """Whether gradaudit does not say which elements of its operands an element of its result is made from."""
        return any(name in self.template for name in _TAKES_OPERANDS_WHOLE)


_TAKES_OPERANDS_WHOLE = (
    *(
        "conv1d",
        "pool1d",
        "cumsum",
        "cumprod",
        "sort",
        "top_k",
        "band_part",
        "inv(",
        "fft",
        "while_loop",
        "diag",
        "trace",
    ),
    *("cross_entropy", "gather({0}, {1}", "gather_nd", "embedding_lookup", "segment_sum", "scatter", "boolean_mask"),
    *("straight_through", "left_only", "zeros_for_right", "gradient_for_both", "numpy_function", "categorical"),
)


def _kinds(signature: str, *templates: str, **facts: bool) -> list[Kind]:
    takes, gives = signature.split("->")
    return [Kind(template, takes, gives, **facts) for template in templates]


KINDS: tuple[Kind, ...] = (
    *_kinds(
        "m->m",
        "tf.tanh({0})",
        "tf.sigmoid({0})",
        "tf.nn.relu({0})",
        "tf.nn.leaky_relu({0})",
        "tf.nn.elu({0})",
        "tf.nn.gelu({0})",
        "tf.nn.softplus({0})",
        "tf.nn.softmax({0})",
        "tf.nn.log_softmax({0})",
        "tf.exp(tf.minimum({0}, 2.0))",
        "tf.math.log1p(tf.abs({0}))",
        "tf.sqrt(tf.abs({0}) + 1.0)",
        "tf.math.rsqrt(1.0 + tf.square({0}))",
        "tf.sin({0})",
        "tf.math.erf({0})",
        "1.0 / (1.0 + {0} ** 2)",
        "tf.clip_by_value({0}, -1.0, 1.0)",
        "tf.clip_by_norm({0}, 2.0)",
        "tf.nn.dropout({0}, 0.5)",
        "tf.math.l2_normalize({0}, axis=-1)",
        "{0} - tf.reduce_mean({0}, axis=-1, keepdims=True)",
        "{0} * tf.math.rsqrt(tf.math.reduce_variance({0}, axis=-1, keepdims=True) + 0.001)",
        "0.5 * {0}",
        "-{0}",
        "{0} + 1.0",
        "tf.transpose({0})",
        "tf.cumsum({0})",
        "tf.math.cumprod(tf.tanh({0}), axis=1)",
        "tf.sort({0})",
        "tf.math.top_k({0}, 4).values",
        "tf.linalg.band_part({0}, 0, -1)",
        "tf.linalg.inv(tf.eye(4, dtype=tf.float64) * 8.0 + tf.tanh({0}))",
        "tf.signal.irfft(tf.signal.rfft({0}))",
        "tf.identity({0})",
        "tf.ensure_shape({0}, [4, 4])",
        "tf.nn.avg_pool1d({0}[tf.newaxis], 2, 1, 'SAME')[0]",
        "tf.nn.max_pool1d({0}[tf.newaxis], 2, 1, 'SAME')[0]",
        "tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, tf.tanh(a)), (0, stored({0})))[1]",
        "tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a.write(i, stored({0}[i]))), "
        "(0, tf.TensorArray(tf.float64, 4, element_shape=[4])))[1].stack()",
        "straight_through({0})",
    ),
    *_kinds(
        "m->m",
        "tf.gather({0}, [0, 2, 1, 1])",
        "tf.reverse({0}, [0])",
        "tf.roll({0}, 1, axis=0)",
        "tf.pad({0}, [[1, 1], [0, 0]])[1:5]",
        "tf.reshape(tf.reshape({0}, [16]), [4, 4])",
        "tf.squeeze(tf.expand_dims({0}, 1), 1)",
        "tf.concat([{0}[2:], {0}[:2]], 0)",
        "tf.strided_slice({0}, [3, 0], [-5, 4], [-1, 1])",
        "tf.stack(tf.unstack({0})[::-1])",
        "tf.TensorArray(tf.float64, 4, element_shape=[4]).unstack(stored({0})).stack()",
    ),
    *_kinds("m->m", "tf.zeros_like({0})", "tf.ones_like({0})", is_constant=True, stops=True),
    *_kinds(
        "m->m",
        "tf.stop_gradient({0})",
        "rounded({0})",
        "tf.floor({0})",
        "tf.math.ceil({0})",
        "tf.sign({0})",
        "0.0 * {0}",
        "{0} - {0}",
        "{0} * tf.zeros_like({0})",
        "tf.cast(tf.cast({0}, tf.int32), tf.float64)",
        "tf.nn.softmax({0}[:, :1]) * tf.ones([4, 4], tf.float64)",
        "tf.ensure_shape(tf.numpy_function(lambda value: value, [{0}], tf.float64), [4, 4])",
        stops=True,
    ),
    *_kinds("m->m", "{0} * mask([1.0, 0.0, 0.0, 1.0])"),
    *_kinds(
        "mm->m",
        "{0} + {1}",
        "{0} - {1}",
        "{0} * {1}",
        "{0} / (1.0 + tf.square({1}))",
        "{0} @ {1}",
        "tf.einsum('ij,kj->ik', {0}, {1})",
        "tf.maximum({0}, {1})",
        "tf.minimum({0}, {1})",
        "tf.math.squared_difference({0}, {1})",
        "tf.nn.conv1d({0}[tf.newaxis], {1}[tf.newaxis], 1, 'SAME')[0]",
        "tf.math.divide_no_nan({0}, {1})",
        "tf.where({0} > 0.0, {0}, {1})",
        "tf.math.atan2({0}, 1.0 + tf.abs({1}))",
        "{0} * tf.stop_gradient({1})",
        "{0} + tf.stop_gradient(difference({1}, {0}))",
        "tf.add_n([{0}, {1}])",
        "left_only({0}, {1})",
        "zeros_for_right({0}, {1})",
        "gradient_for_both({0}, {1})",
        "{0} * tf.zeros_like({1}) + {1}",
        "{0} * tf.cast({1} > 0.0, tf.float64)",
    ),
    *_kinds(
        "mm->m",
        "tf.concat([{0}[:2], {1}[2:]], 0)",
        "tf.concat([{0}, {1}], 1)[:, 2:6]",
        "tf.concat(tf.split({0}, 2)[:1] + tf.split({1}, 2)[1:], 0)",
        "tf.TensorArray(tf.float64, 2, element_shape=[4, 4]).write(0, stored({0})).write(1, stored({1})).read(1)",
        "tf.TensorArray(tf.float64, 2, element_shape=[4, 4]).write(0, stored({0})).write(1, stored({1})).stack()[0]",
        "tf.slice(tf.stack([{0}, {1}], 1), [0, 0, 0], [4, 1, 4])[:, 0]",
    ),
    *_kinds(
        "m->v",
        "tf.reduce_sum({0}, axis=0)",
        "tf.reduce_mean({0}, axis=1)",
        "tf.reduce_max({0}, axis=1)",
        "tf.reduce_logsumexp({0}, axis=1)",
        "tf.math.reduce_std({0}, axis=0)",
        "tf.norm({0} + 0.1, axis=1)",
        "tf.linalg.diag_part({0})",
    ),
    *_kinds("m->v", "{0}[1]", "{0}[:, 2]", "tf.unstack({0})[3]"),
    *_kinds(
        "mm->v", "tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax({0}), {1})", "tf.einsum('ij,ij->i', {0}, {1})"
    ),
    *_kinds("mi->v", "tf.gather({0}, {1}, batch_dims=1)"),
    *_kinds("im->v", "tf.nn.sparse_softmax_cross_entropy_with_logits({0}, {1})"),
    *_kinds("mv->m", "tf.nn.bias_add({0}, {1})", "{0} * {1}", "{0} * {1}[:, tf.newaxis]"),
    *_kinds("mv->v", "tf.linalg.matvec({0}, {1})"),
    *_kinds("vv->m", "tf.tensordot({0}, {1}, 0)", "{0}[:, tf.newaxis] + {1}[tf.newaxis]"),
    *_kinds("vvvv->m", "tf.stack([{0}, {1}, {2}, {3}])"),
    *_kinds("v->m", "tf.linalg.diag({0})", "tf.tile({0}[tf.newaxis], [4, 1])", "tf.broadcast_to({0}, [4, 4])"),
    *_kinds("v->v", "tf.tanh({0})", "tf.nn.softmax({0})", "tf.cumsum({0}, reverse=True)", "tf.square({0})"),
    *_kinds("vv->v", "{0} + {1}", "{0} * {1}", "{0} - {1}"),
    *_kinds("v->s", "tf.reduce_sum({0})", "tf.reduce_prod({0})", "tf.norm({0} + 0.1)"),
    *_kinds("v->s", "{0}[2]"),
    *_kinds("m->s", "tf.reduce_mean({0})", "tf.nn.l2_loss({0})", "tf.linalg.trace({0})", "tf.reduce_max({0})"),
    *_kinds(
        "m->s",
        "tf.cast(tf.shape({0})[0], tf.float64)",
        "tf.cast(tf.size({0}), tf.float64)",
        is_constant=True,
        stops=True,
    ),
    *_kinds("mb->s", "tf.reduce_sum(tf.boolean_mask({0}, {1}))"),
    *_kinds("s->s", "tf.tanh({0})", "tf.square({0})", "0.1 * {0}"),
    *_kinds("s->s", "tf.stop_gradient({0})", stops=True),
    *_kinds("ss->s", "{0} + {1}", "{0} * {1}", "{0} / (1.0 + tf.square({1}))"),
    *_kinds("sm->m", "{0} * {1}"),
    *_kinds("s->m", "tf.fill([4, 4], {0})"),
    *_kinds("s->v", "tf.stack([{0}, 1.0, 2.0, 3.0])"),
    *_kinds("mm->t", "tf.stack([{0}, {1}])"),
    *_kinds("l->t", "tf.reshape({0}, [2, 4, 4])"),
    *_kinds("t->l", "tf.reshape({0}, [8, 4])"),
    *_kinds("t->t", "tf.tanh({0})", "tf.math.softmax({0}, axis=0)"),
    *_kinds("t->m", "tf.reduce_sum({0}, axis=0)", "tf.reduce_max({0}, axis=0)"),
    *_kinds("t->m", "{0}[0]", "{0}[1]"),
    *_kinds("t->mm", "tf.unstack({0})"),
    *_kinds("tt->t", "{0} + {1}", "{0} @ {1}"),
    *_kinds("mm->l", "tf.concat([{0}, {1}], 0)"),
    *_kinds("m->l", "tf.tile({0}, [2, 1])", "padded({0}, [[0, 4], [0, 0]])"),
    *_kinds("l->l", "tf.nn.relu({0})", "tf.cumsum({0})"),
    *_kinds("l->m", "{0}[:4]", "{0}[4:]", "{0}[::2]", "tf.slice({0}, [2, 0], [4, 4])"),
    *_kinds("l->mm", "tf.split({0}, 2)"),
    *_kinds(
        "m->i",
        "tf.argmax({0}, axis=-1, output_type=tf.int32)",
        "tf.random.categorical({0}, 1, tf.int32)[:, 0]",
        stops=True,
    ),
    *_kinds("m->i", "tf.cast(tf.clip_by_value({0}[0], 0.0, 3.0), tf.int32)", stops=True),
    *_kinds("v->i", "tf.argsort({0})", "tf.math.top_k({0}, 4).indices", stops=True),
    *_kinds("i->m", "tf.one_hot({0}, 4, dtype=tf.float64)", stops=True),
    *_kinds("i->v", "tf.cast({0}, tf.float64)", stops=True),
    *_kinds(
        "mi->m", "tf.gather({0}, {1})", "tf.nn.embedding_lookup({0}, {1})", "tf.gather_nd({0}, {1}[:, tf.newaxis])"
    ),
    *_kinds("mi->m", "tf.math.unsorted_segment_sum({0}, {1}, 4)", "tf.scatter_nd({1}[:, tf.newaxis], {0}, [4, 4])"),
    *_kinds("m->m", "tf.math.segment_sum({0}, [0, 0, 1, 3])"),
    *_kinds("mim->m", "tf.tensor_scatter_nd_update({0}, {1}[:, tf.newaxis], {2})"),
    *_kinds("mim->m", "tf.tensor_scatter_nd_add({0}, {1}[:, tf.newaxis], {2})"),
    *_kinds("mm->b", "{0} > {1}", "tf.abs({0}) <= tf.abs({1})", stops=True),
    *_kinds("b->b", "tf.logical_not({0})", stops=True),
    *_kinds("bmm->m", "tf.where({0}, {1}, {2})"),
    *_kinds("b->m", "tf.cast({0}, tf.float64)", stops=True),
    *_kinds("b->p", "tf.reduce_any({0})", stops=True),
    *_kinds("s->p", "{0} > 0.0", stops=True),
    *_kinds("m->p", "tf.reduce_sum({0}) > 0.0", stops=True),
    *_kinds("m->f", "tf.cast({0}, tf.float32)"),
    *_kinds("f->f", "tf.tanh({0})", "tf.cast(tf.cast({0}, tf.bfloat16), tf.float32)"),
    *_kinds("f->m", "tf.cast({0}, tf.float64)"),
    *_kinds("f->h", "tf.cast({0}, tf.float16)"),
    *_kinds("h->f", "tf.cast({0}, tf.float32)"),
    *_kinds("mm->c", "tf.complex({0}, imaginary({1}))"),
    *_kinds("m->c", "tf.signal.fft(tf.cast({0}, tf.complex128))"),
    *_kinds("c->c", "tf.math.conj({0})", "tf.signal.ifft({0})"),
    *_kinds("cc->c", "{0} * {1}"),
    *_kinds("c->m", "tf.math.real({0})", "tf.math.imag({0})", "tf.abs({0})"),
)

HELPERS: dict[str, str] = {
    "mask": """
def mask(values):
    return tf.constant(values, tf.float64)
""",
    "difference": """
def difference(left, right):
    return left - right
""",
    "padded": """
def padded(value, paddings):
    return tf.pad(value, paddings)
""",
    "imaginary": """
def imaginary(value):
    return value
""",
    "stored": """
def stored(value):
    return value
""",
    "rounded": """
def rounded(value):
    return tf.round(value)
""",
    "straight_through": """
@tf.custom_gradient
def straight_through(value):
    return tf.round(value), lambda upstream: upstream
""",
    "left_only": """
@tf.custom_gradient
def left_only(left, right):
    return left * right, lambda upstream: (upstream * right, None)
""",
    "zeros_for_right": """
@tf.custom_gradient
def zeros_for_right(left, right):
    return left * right, lambda upstream: (upstream * right, tf.zeros_like(right))
""",
    "gradient_for_both": """
@tf.custom_gradient
def gradient_for_both(left, right):
    return tf.identity(left), lambda upstream: (upstream, 0.1 * tf.ones_like(right))
""",
}
"""Functions that templates call, by name."""
