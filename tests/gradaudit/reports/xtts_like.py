"""Audits that look like those of XTTS: its layers, outputs and losses, and a thousand ops, made without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import networkx

from gradaudit.graph.coverage import coverage
from gradaudit.graph.participation_cost import OptimizerFacts, participation_costs
from gradaudit.graph.report import Audit
from gradaudit.graph.verdicts import Block, Cause, Finding, Group, Objective, Source, Status, Term, Verdict
from gradaudit.rules import participation_cost
from gradaudit.rules.catalogue import STATUS_RULES
from tests.gradaudit.reports.drawing import DrawnGraph

_MODELS = "xtts/models"
_WIDTH = 256
_TARGETS = {
    "minimal-unpatched": (),
    "minimal": (),
    "mixed": ("duration", "pitch"),
    "comprehensive": ("duration", "pitch", "energy", "prosody_pitch", "prosody_energy", "prosody_speaking_rate"),
}
_OUTPUTS = {
    "duration": "duration_pred",
    "pitch": "pitch_output",
    "energy": "energy_output",
    "prosody_pitch": "prosody_pitch",
    "prosody_energy": "prosody_energy",
    "prosody_speaking_rate": "prosody_speaking_rate",
}
_TITLES = {rule.status: rule.title for rule in STATUS_RULES}
_WEIGHTS = {"mel": 2.5, "stop": 1.0, "duration": 0.1, "pitch": 0.1, "energy": 0.1}


@dataclass
class _Network:
    """Adds ops and variables in the order of a forward pass."""

    graph: networkx.DiGraph = field(default_factory=networkx.DiGraph)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def op(
        self, op_type: str, layer: str | None, *inputs: str, flow: str = "passes", source: Source | None = None
    ) -> str:
        stem = f"{layer or 'step'}/{op_type}"
        self.counts[stem] = self.counts.get(stem, -1) + 1
        node = f"{stem}_{self.counts[stem]}"
        self.graph.add_node(node, kind="op", op_type=op_type, layer=layer, source=source)
        for producer in inputs:
            self.graph.add_edge(node, producer, flow=flow)
        return node

    def variable(self, path: str, *shape: int) -> str:
        if path not in self.shapes:
            self.shapes[path] = shape
            self.graph.add_node(
                path, kind="variable", op_type=None, layer=path.rpartition("/")[0], source=None, path=path
            )
        return path

    def dense(self, layer: str, x: str, units: int = _WIDTH) -> str:
        kernel = self.op("ReadVariableOp", layer, self.variable(f"{layer}/kernel", _WIDTH, units))
        bias = self.op("ReadVariableOp", layer, self.variable(f"{layer}/bias", units))
        return self.op("AddV2", layer, self.op("MatMul", layer, self.op("Reshape", layer, x), kernel), bias)

    def norm(self, layer: str, x: str) -> str:
        gamma = self.op("ReadVariableOp", layer, self.variable(f"{layer}/gamma", _WIDTH))
        beta = self.op("ReadVariableOp", layer, self.variable(f"{layer}/beta", _WIDTH))
        centred = self.op("Sub", layer, x, self.op("Mean", layer, x))
        scale = self.op("Rsqrt", layer, self.op("Mean", layer, self.op("Square", layer, centred)))
        return self.op("AddV2", layer, self.op("Mul", layer, self.op("Mul", layer, centred, scale), gamma), beta)

    def attention(self, layer: str, x: str, memory: str) -> str:
        query, key, value = (
            self.dense(f"{layer}/{part}", y) for part, y in (("query", x), ("key", memory), ("value", memory))
        )
        scores = self.op("Softmax", layer, self.op("BatchMatMulV2", layer, query, key))
        return self.dense(f"{layer}/output", self.op("BatchMatMulV2", layer, scores, value))

    def block(self, layer: str, x: str, memory: str | None = None) -> str:
        x = self.op("AddV2", layer, x, self.attention(f"{layer}/self_attention", self.norm(f"{layer}/norm_1", x), x))
        if memory is not None:
            x = self.op(
                "AddV2", layer, x, self.attention(f"{layer}/cross_attention", self.norm(f"{layer}/norm_2", x), memory)
            )
        hidden = self.op("Gelu", layer, self.dense(f"{layer}/ffn_in", self.norm(f"{layer}/norm_3", x), 4 * _WIDTH))
        return self.op("AddV2", layer, x, self.dense(f"{layer}/ffn_out", hidden))

    def output(self, name: str, node: str) -> str:
        self.graph.nodes[node]["output"] = name
        return node


def xtts_audit(scenario: str, *, blocks: int = 6) -> Audit:
    """The audit of one of the seed's scenarios with `blocks` transformer blocks on either side."""
    network = _Network()
    outputs = _forward(network, blocks)
    targets = _TARGETS[scenario]
    tasks = {
        "mel": [outputs["mel_output"]],
        "stop": [outputs["stop_tokens"]],
        **{name: [outputs[_OUTPUTS[name]]] for name in targets},
    }
    untargeted = [output for name, output in _OUTPUTS.items() if name not in targets]
    covered = [outputs[name] for name in untargeted] if scenario in ("minimal", "mixed") else []
    terms = _losses(network, tasks, covered)
    return _audit(scenario, network, terms, untargeted, patched=bool(covered))


def _forward(network: _Network, blocks: int) -> dict[str, str]:
    text = network.op(
        "ResourceGather",
        "xtts/text_encoder/embedding",
        network.variable("xtts/text_encoder/embedding/embeddings", 512, _WIDTH),
    )
    for index in range(blocks):
        text = network.block(f"xtts/text_encoder/block_{index}", text)
    text = network.norm("xtts/text_encoder/norm", text)
    duration = network.output("duration_pred", network.dense("xtts/text_encoder/duration_predictor", text, 1))
    reference = network.op("Placeholder", None)
    audio = reference
    for index in range(4):
        audio = network.op(
            "Relu", f"xtts/audio_encoder/conv_{index}", network.dense(f"xtts/audio_encoder/conv_{index}", audio)
        )
    speaker = network.dense("xtts/audio_encoder/speaker_projection", network.op("Mean", "xtts/audio_encoder", audio))
    style = reference
    for index in range(3):
        style = network.op(
            "Relu",
            "xtts/global_style_token/reference_encoder",
            network.dense(f"xtts/global_style_token/reference_encoder/conv_{index}", style),
        )
    tokens = network.op(
        "ReadVariableOp", "xtts/global_style_token", network.variable("xtts/global_style_token/tokens", 10, _WIDTH)
    )
    style = network.attention("xtts/global_style_token/attention", style, tokens)
    prosody = _prosody(network, text, style)
    condition = network.op("ConcatV2", "xtts", text, speaker, style)
    stop = Source(f"{_MODELS}/mel_decoder.py", 63, "call")
    stopped = [
        network.op("StopGradient", "xtts/mel_decoder", node, flow="blocked", source=stop) for node in prosody.values()
    ]
    memory = network.op("AddV2", "xtts/mel_decoder", condition, *stopped)
    x = network.dense("xtts/mel_decoder/prenet_0", network.op("Placeholder", None))
    x = network.dense("xtts/mel_decoder/prenet_1", x)
    for index in range(blocks):
        x = network.block(f"xtts/mel_decoder/block_{index}", x, memory)
    x = network.norm("xtts/mel_decoder/norm", x)
    heads = {
        "mel_output": network.dense("xtts/mel_decoder/mel_projection", x, 80),
        "stop_tokens": network.dense("xtts/mel_decoder/stop_projection", x, 1),
        "pitch_output": network.dense("xtts/mel_decoder/pitch_projection", x, 1),
        "energy_output": network.dense("xtts/mel_decoder/energy_projection", x, 1),
    }
    for name, node in heads.items():
        network.output(name, node)
    return {"duration_pred": duration, **heads, **prosody}


def _prosody(network: _Network, text: str, style: str) -> dict[str, str]:
    layer = "xtts/prosody_predictor"
    x = network.op("AddV2", layer, text, network.dense(f"{layer}/style_projection", style))
    for index in range(2):
        x = network.op("Relu", f"{layer}/prosody_layer_{index}", network.dense(f"{layer}/prosody_layer_{index}", x))
    heads = {"prosody_pitch": "pitch", "prosody_energy": "energy", "prosody_speaking_rate": "speaking_rate"}
    return {
        output: network.output(output, network.dense(f"{layer}/{head}_predictor", x, 1))
        for output, head in heads.items()
    }


def _losses(network: _Network, tasks: dict[str, list[str]], covered: list[str]) -> list[Term]:
    network.graph.add_node("loss", kind="objective", op_type=None, layer=None, source=None, label="loss")
    kinds = {name: ("task", _WEIGHTS.get(name, 0.05), nodes) for name, nodes in tasks.items()}
    if covered:
        kinds["gradient_participation"] = ("participation", 1e-6, covered)
    terms = []
    for name, (kind, weight, nodes) in kinds.items():
        term = f"term:{name}"
        network.graph.add_node(
            term, kind="term", op_type=None, layer=None, source=None, term_kind=kind, weight=weight, label=name
        )
        network.graph.add_edge("loss", term, flow="passes")
        for node in nodes:
            squared = network.op("SquaredDifference", None, node)
            mean = network.op("Mean", None, squared)
            network.graph.add_edge(term, mean, flow="passes")
        terms.append((name, kind, weight, _reach(network.graph, term)))
    return [
        Term(name, kind, weight, Source("xtts/training/losses.py", 40, name), len(reach))
        for name, kind, weight, reach in terms
    ]


def _reach(graph: networkx.DiGraph, term: str) -> frozenset[str]:
    seen, waiting = {term}, [term]
    while waiting:
        node = waiting.pop()
        for below, edge in graph.adj[node].items():
            if edge["flow"] == "passes" and below not in seen:
                seen.add(below)
                waiting.append(below)
    return frozenset(node for node in seen if graph.nodes[node]["kind"] == "variable")


def _audit(scenario: str, network: _Network, terms: list[Term], untargeted: Sequence[str], *, patched: bool) -> Audit:
    reaches = {term.name: _reach(network.graph, f"term:{term.name}") for term in terms}
    tasks = frozenset().union(*(reaches[term.name] for term in terms if term.kind == "task"))
    status: Status = "participation-only" if patched else "disconnected"
    groups = tuple(_groups([path for path in network.shapes if path not in tasks], status, untargeted))
    by_path = {path: group for group in groups for path in group.variables}
    verdicts = tuple(_verdict(path, shape, by_path.get(path), reaches) for path, shape in network.shapes.items())
    for verdict in verdicts:
        network.graph.nodes[verdict.path]["status"] = verdict.status
    findings = [
        Finding(
            group.rule, "warning" if patched else "error", group.variables, _TITLES[status], group.message, group=group
        )
        for group in groups
    ]
    objectives = (Objective("loss", tuple(terms), Source("xtts/models/xtts.py", 201, "train_step")),)
    covered = coverage(objectives, verdicts, {})
    paths = frozenset(network.shapes)
    adamw = OptimizerFacts("AdamW", "normalizes", 1e-7, 0.004, paths, dict.fromkeys(paths, 0.004), 2048)
    costs = participation_costs(covered, [adamw])
    findings += participation_cost.findings(costs)
    return Audit(
        subject="xtts",
        scenario=scenario,
        objectives=objectives,
        variables=verdicts,
        groups=groups,
        findings=tuple(findings),
        gradients=DrawnGraph(network.graph),
        coverage=covered,
        costs=costs,
        optimizer="AdamW",
        weights_allocated=False,
        seconds={"build": 0.6, "trace": 1.2, "analyse": 0.3},
    )


def _groups(paths: list[str], status: Status, untargeted: Sequence[str]) -> Iterable[Group]:
    stop = Block("StopGradient", "no-gradient", "xtts/mel_decoder", Source(f"{_MODELS}/mel_decoder.py", 63, "call"))
    prosody = tuple(
        output for output in ("prosody_pitch", "prosody_energy", "prosody_speaking_rate") if output in untargeted
    )
    ends = (
        ("xtts/text_encoder/duration_predictor", ("duration_pred",), "text_encoder.py", 88, ()),
        ("xtts/prosody_predictor", prosody, "prosody.py", 41, (stop,)),
        ("xtts/mel_decoder/pitch_projection", ("pitch_output",), "mel_decoder.py", 120, ()),
        ("xtts/mel_decoder/energy_projection", ("energy_output",), "mel_decoder.py", 121, ()),
    )
    for layer, outputs, file, line, blocks in ends:
        variables = tuple(path for path in paths if path.startswith(f"{layer}/"))
        if not variables:
            continue
        source = Source(f"{_MODELS}/{file}", line, "call")
        named = ", ".join(outputs)
        if status == "disconnected":
            message, rule = f"{named}: read by no loss term", "GA101"
            if blocks:
                message += "; the decoder takes them through StopGradient (xtts/models/mel_decoder.py:63)"
        else:
            message, rule = f"{named}: read by the participation term alone, so there is no target to learn", "GA103"
        fix = 'give a target for each, or set participation = "freeze"'
        yield Group(
            status=status,
            variables=variables,
            layer=layer,
            message=message,
            fix=fix,
            rule=rule,
            outputs=outputs,
            terms=("gradient_participation",) if status == "participation-only" else (),
            sources=(source,),
            cause=Cause("dead-end", message, fix, layer=layer, outputs=outputs, source=source, blocks=blocks),
        )


def _verdict(path: str, shape: tuple[int, ...], group: Group | None, reaches: dict[str, frozenset[str]]) -> Verdict:
    assert math.prod(shape) > 0
    status: Status = "connected" if group is None else group.status
    terms = tuple(("loss", name) for name, reach in reaches.items() if path in reach)
    tape = "none" if status == "disconnected" else "tensor"
    return Verdict(path, shape, "float32", status, tape, terms, cause=None if group is None else group.cause)
