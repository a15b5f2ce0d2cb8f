"""Walks over gradient graphs that are drawn above each assertion.

`->` passes a gradient, `-x>` blocks it, `-0>` makes it zero, `-?>` is opaque. A node is an op unless its name begins
with `v`, a variable, or `i`, a tensor of integers. `a*` is an op outside the tape.
"""

from __future__ import annotations

import pytest

from gradaudit.graph.causes import Causes
from gradaudit.graph.gradient_graph import (
    ANY_FLOW,
    PASSES,
    PASSES_OR_OPAQUE,
    PASSES_OR_ZERO,
    Facts,
    Flow,
    GradientGraph,
    Window,
)
from gradaudit.graph.parts import Axis, ByAxis, Selection, everything
from gradaudit.graph.zero_causes import ZeroCauses

ARROWS: dict[str, Flow] = {"->": "passes", "-x>": "blocked", "-0>": "zero", "-?>": "opaque"}
TAPE = Window("tape")


class Drawing:
    """A graph drawn as lines, and its nodes by the names in the drawing."""

    def __init__(self, text: str) -> None:
        self.graph = GradientGraph()
        self.nodes: dict[str, str] = {}
        for line in filter(None, map(str.strip, text.splitlines())):
            words = line.split()
            for consumer, arrow, producer in zip(words[::2], words[1::2], words[2::2], strict=False):
                self.graph.connect(self.node(consumer), self.node(producer), ARROWS[arrow])

    def node(self, word: str) -> str:
        name = word.rstrip("*")
        if name not in self.nodes:
            self.nodes[name] = (
                self.graph.add_variable(name)
                if name.startswith("v")
                else self.graph.add_tensor(
                    Facts(
                        "op",
                        name,
                        tapes=frozenset() if word.endswith("*") else frozenset({"tape"}),
                        carries=not name.startswith("i"),
                    )
                )
            )
        return self.nodes[name]

    def reached(self, root: str, flows: frozenset[Flow] = PASSES, window: Window = TAPE) -> set[str]:
        reached = self.graph.reach({self.nodes[root]: 1}, window=window, flows=flows)
        return {name for name, node in self.nodes.items() if node in reached}

    def blamed(self, root: str, end: str) -> tuple[str, str] | None:
        found = self.graph.chains([self.nodes[root]], window=TAPE).first_block(self.nodes[end])
        return None if found is None else (found[0].op_type, found[0].reason)


def test_a_gradient_goes_as_far_as_edges_pass() -> None:
    drawing = Drawing("""
        loss -> a -> v1
        a -x> b -> v2
    """)
    assert drawing.reached("loss") == {"loss", "a", "v1"}


def test_zero_and_opaque_edges_are_followed_when_asked_for() -> None:
    drawing = Drawing("""
        loss -0> a -> v1
        loss -?> b -> v2
    """)
    assert drawing.reached("loss") == {"loss"}
    assert drawing.reached("loss", PASSES_OR_ZERO) == {"loss", "a", "v1"}
    assert drawing.reached("loss", PASSES_OR_OPAQUE) == {"loss", "b", "v2"}


def test_of_two_edges_between_the_same_nodes_the_better_one_counts() -> None:
    assert Drawing("loss -x> v1 \n loss -> v1").reached("loss") == {"loss", "v1"}
    assert Drawing("loss -> v1 \n loss -x> v1").reached("loss") == {"loss", "v1"}


def test_values_that_swap_places_in_a_loop_are_followed_round_by_round() -> None:
    drawing = Drawing("""
        out -> a
        a -> b -> c -> a
        c -> v1
    """)
    assert drawing.reached("out") == {"out", "a", "b", "c", "v1"}


def test_every_root_has_a_bit_of_its_own() -> None:
    drawing = Drawing("""
        mel -> trunk -> v1
        stop -> trunk
        stop -> v2
    """)
    masks = drawing.graph.reach({drawing.nodes["mel"]: 1, drawing.nodes["stop"]: 2}, window=TAPE)
    assert masks[drawing.nodes["v1"]] == 3
    assert masks[drawing.nodes["v2"]] == 2


def test_what_a_tape_did_not_record_ends_its_gradient_but_not_that_of_symbolic_gradients() -> None:
    drawing = Drawing("loss -> a* -> v1")
    assert drawing.reached("loss") == {"loss", "a"}
    assert drawing.reached("loss", window=Window(None)) == {"loss", "a", "v1"}


def test_zeros_are_handed_back_without_being_a_path() -> None:
    graph = GradientGraph()
    loss, call = graph.add_tensor(Facts("op", "loss")), graph.add_tensor(Facts("op", "call", is_hub=True))
    variable = graph.add_variable("v")
    graph.connect(loss, call, "blocked", zeros=True)
    graph.connect(call, variable, "blocked", zeros=True)
    assert variable not in graph.reach({loss: 1}, window=TAPE, flows=ANY_FLOW)
    assert variable in graph.arrivals([loss], window=TAPE)
    assert not graph.chains([loss], window=TAPE).reaches(variable)


FIRST = ByAxis((Axis(None, (0,)),))
SECOND = ByAxis((Axis(None, (1,)),))


def stacked(readers: dict[str, Selection]) -> tuple[GradientGraph, dict[str, str]]:
    """A loss that reads a stack of two variables through `readers`, each of which takes a part of it."""
    graph = GradientGraph(lambda consumer, producer: [taken.get((consumer, producer), everything)])
    nodes = {name: graph.add_tensor(Facts("op", name)) for name in ("loss", "Pack")}
    nodes |= {reader: graph.add_tensor(Facts("op", reader, narrows=True)) for reader in readers}
    nodes |= {name: graph.add_variable(name) for name in ("v0", "v1")}
    for reader in readers:
        graph.connect(nodes["loss"], nodes[reader], "passes")
        graph.connect(nodes[reader], nodes["Pack"], "passes")
    graph.connect(nodes["Pack"], nodes["v0"], "passes")
    graph.connect(nodes["Pack"], nodes["v1"], "passes")
    taken: dict[tuple[str, str], Selection] = {(nodes[name], nodes["Pack"]): part for name, part in readers.items()}
    taken |= {(nodes["Pack"], nodes[f"v{index}"]): ByAxis((), only=(0, index)) for index in (0, 1)}
    return graph, nodes


def test_of_a_stack_only_what_is_read_is_reached_unless_all_of_it_is_asked_for() -> None:
    graph, nodes = stacked({"Slice": FIRST})
    root = {nodes["loss"]: 1}
    assert nodes["v0"] in graph.reach(root, window=TAPE)
    assert nodes["v1"] not in graph.reach(root, window=TAPE)
    assert nodes["v1"] in graph.arrivals(root, window=TAPE)


def test_parts_that_are_read_apart_add_up() -> None:
    graph, nodes = stacked({"Slice": FIRST, "Other": SECOND})
    reached = graph.reach({nodes["Slice"]: 1, nodes["Other"]: 2}, window=TAPE)
    assert (reached[nodes["v0"]], reached[nodes["v1"]]) == (1, 2)


def test_many_parts_of_a_tensor_count_as_a_whole() -> None:
    graph, nodes = stacked({f"Slice{index}": ByAxis((Axis(None, (index,)),)) for index in range(2, 40)})
    assert nodes["v1"] in graph.reach({nodes["loss"]: 1}, window=TAPE)


def test_a_stack_whose_other_elements_are_read_is_to_blame() -> None:
    graph, nodes = stacked({"Slice": FIRST})
    cause = Causes(graph, [(nodes["loss"], TAPE, ())]).of(nodes["v1"], "v1", ())
    assert (cause.kind, cause.op_type, cause.chain[-2:]) == ("dead-end", "Pack", (nodes["Pack"], nodes["v1"]))


def test_a_term_of_weight_zero_is_to_blame_for_zeros() -> None:
    graph = GradientGraph()
    tensor, variable = graph.add_tensor(Facts("op", "Sum")), graph.add_variable("v")
    graph.connect(tensor, variable, "passes")
    objective = graph.add_objective("loss", None)
    graph.add_term(objective, "pitch", None, {tensor: 0.0})
    cause = ZeroCauses(graph, [(objective, TAPE, ())]).of(variable)
    assert cause is not None
    assert cause.message == "loss term pitch has weight 0"


def test_all_broken_paths_of_a_variable_are_listed_and_the_best_one_first() -> None:
    drawing = Drawing("""
        loss -> a -> Stop -x> v1
        loss -> Round -x> b -> v1
        loss -> Gather -x> iArgMax -x> b
        loss -> Fill -x> iSize -x> b
        loss -> c* -> v1
    """)
    drawing.graph.facts(drawing.nodes["iSize"]).op_type = "Size"
    cause = Causes(drawing.graph, [(drawing.nodes["loss"], TAPE, ())]).of(drawing.nodes["v1"], "v1", ())
    assert cause.blocks[0].op_type == "c"
    assert {(block.op_type, block.reason) for block in cause.blocks} == {
        ("Stop", "no-gradient"),
        ("Round", "no-gradient"),
        ("iArgMax", "no-gradient"),
        ("c", "outside-tape"),
    }


@pytest.mark.parametrize(
    ("text", "blamed"),
    [
        ("loss -> Stop -x> a -> v1", ("Stop", "no-gradient")),
        ("loss -> a* -> v1", ("a", "outside-tape")),
        ("loss -> Sign -0> a -> v1", ("Sign", "zero")),
        ("loss -> Lu -?> a -> v1", ("Lu", "opaque")),
        ("loss -> a -> v1", None),
        # A float made of an integer made of a float: the op that made the integer is to blame.
        ("loss -> Float -x> iArgMax -x> a -> v1", ("iArgMax", "no-gradient")),
        ("loss -> Gather -x> iAdd -x> iArgMax -x> a -> v1", ("iArgMax", "no-gradient")),
    ],
    ids=["stop", "outside", "zero", "opaque", "none", "integer", "integers"],
)
def test_the_op_that_a_person_would_blame(text: str, blamed: tuple[str, str] | None) -> None:
    assert Drawing(text).blamed("loss", "v1") == blamed


def test_the_way_with_the_fewest_blocks_is_the_evidence_even_if_it_is_longer() -> None:
    drawing = Drawing("""
        loss -> Select -x> Round -x> v1
        loss -> a -> b -> c -> Stop -x> v1
    """)
    chains = drawing.graph.chains([drawing.nodes["loss"]], window=TAPE)
    assert chains.to(drawing.nodes["v1"]) == ("loss", "a", "b", "c", "Stop", "variable:v1")
    assert drawing.blamed("loss", "v1") == ("Stop", "no-gradient")


def test_a_variable_that_nothing_reads_and_one_whose_values_are_dropped_have_different_causes() -> None:
    drawing = Drawing("""
        loss -> a
        dropped -> b -> v1
    """)
    never_read = drawing.graph.add_variable("layer/v2")
    causes = Causes(drawing.graph, [(drawing.nodes["loss"], TAPE, ())])
    assert causes.of(drawing.nodes["v1"], "v1", ()).kind == "dead-end"
    assert causes.of(never_read, "layer/v2", ()).kind == "never-read"


def test_ids_tell_tensors_apart_and_do_not_change_from_run_to_run() -> None:
    def ids() -> list[str]:
        graph = GradientGraph()
        return [graph.add_tensor(Facts("op", "Mul", scope="s", layer=layer)) for layer in ("m/a", "m/a", None)]

    assert ids() == ids() == ["m/a/Mul", "m/a/Mul#2", "s/Mul"]
