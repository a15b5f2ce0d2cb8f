"""From a subject to its audit: build, trace, graph, verdicts and causes, findings. Read it top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from gradaudit.errors import MeasureError, SubjectError, TraceError
from gradaudit.flow.edges import Edges
from gradaudit.flow.opening import Opening
from gradaudit.flow.reported import missing_terms
from gradaudit.flow.terms import loss_terms, participation_nodes
from gradaudit.flow.updates import updated_variables
from gradaudit.flow.variables import KnownVariable, Variables
from gradaudit.garbage import garbage_left_alone
from gradaudit.graph.contract_check import ContractCheck
from gradaudit.graph.contracts import Contract
from gradaudit.graph.coverage import Coverage, coverage
from gradaudit.graph.groups import group
from gradaudit.graph.idle_terms import idle_terms
from gradaudit.graph.judgement import Judgement, ObjectiveFacts, TermFacts, VariableFacts
from gradaudit.graph.participation_cost import ParticipationCost, participation_costs
from gradaudit.graph.report import Audit
from gradaudit.graph.suggestion import Access, Step, Suggestion, suggestion
from gradaudit.graph.verdicts import STATUSES, Source, UnregisteredOp, Verdict
from gradaudit.measuring import BuiltSubject, measured
from gradaudit.probing import FAILS, probed
from gradaudit.reports.notebook import ShownAudit
from gradaudit.rules.catalogue import RULE_CODES, find
from gradaudit.subject import Subject
from gradaudit.tracing.called_models import CalledModels
from gradaudit.tracing.gradient_calls import GradientCall
from gradaudit.tracing.making import Made, watched_making
from gradaudit.tracing.optimizers import optimizer_facts, optimizer_name
from gradaudit.tracing.participation import Expression, Participation
from gradaudit.tracing.participation_runs import seed_everything
from gradaudit.tracing.trace import Trace, trace_step
from gradaudit.tracing.unbuilt import unbuilt_layers
from gradaudit.tracing.weights import WeightlessReadError, weights_without_memory
from gradaudit.user_code import files_named_from_here, user_errors

PARTICIPATION_SCOPES = ("gradient_participation",)
"""Name scopes of loss terms that exist only so that a gradient exists."""

_NOTHING_TO_TRAIN = "The step has no trainable variables: is every layer frozen, or the model without weights?"

_APPLIED_LATER = (
    "this round applies no gradient. The code around it says that it applies some, so all count as applied in a later "
    "round."
)

_Progress = Callable[[str], None]


@files_named_from_here()
def audit(
    subject: Subject | Callable[[], Subject],
    *,
    scenario: str | None = None,
    name: str | None = None,
    participation_scopes: Sequence[str] = PARTICIPATION_SCOPES,
    verify: bool = False,
    probe: int = 0,
    measure: int = 0,
    terms: Sequence[str] = (),
    suggest: bool = False,
    contracts: Sequence[Contract] = (),
    progress: _Progress | None = None,
) -> Audit:
    """Tell for every variable of a train step whether it will learn, and why not.

    Args:
        subject: a Subject, or a callable without arguments that returns one; what it builds then takes no memory,
            and is of no use after the audit.
        scenario: the name of the scenario that this is, for the report.
        name: what the report calls the subject; its own name if left out.
        participation_scopes: name scopes of loss terms that exist only so that a gradient exists.
        verify: also ask TensorFlow's own tape, and compare; a note says what was compared.
        probe: also run this many real steps, on the subject's batches or on random values, with weights that are moved
            off zero, and compare. It takes a callable, because it changes the weights of what that returns.
        measure: also run this many real steps with the participation terms and as many without them, from one seed
            and the same weights, and compare. It takes a callable too, and sets the random seed of Python, NumPy and
            Keras.
        terms: participation terms to audit as if the step added them to its losses: expressions over model outputs,
            such as "1e-6 * mean(square(pitch))".
        suggest: also look for the fewest model outputs whose participation would give every variable a gradient that
            can get one, and audit the step with them.
        contracts: what the project says of its training; a finding tells of each that is broken or matches nothing.
        progress: called with the name of each phase as it begins: "build", "trace", "analyse", "probe", "measure".

    Raises:
        SubjectError: the subject is no subject, `probe` or `measure` no number of steps, or one of `terms` no term of
            the step.
        TraceError: the step cannot be traced, asks for no gradient, or has no trainable variables; with `probe`, it
            cannot be run, or trains otherwise each time that it is traced.
        MeasureError: with `measure`, its real steps cannot be run or compared; it has the audit without them.
        DisagreementError: with `verify` or `probe`, if TensorFlow contradicts a verdict.
    """
    expressions = tuple(Expression(term) for term in terms)
    _require_askable(subject, probe, measure, bool(expressions), bool(expressions or suggest), participation_scopes)

    def way(*notes: str) -> _Attempt:
        return _Attempt(
            scenario=scenario,
            name=name,
            participation_scopes=tuple(participation_scopes),
            verify=verify,
            probe=probe,
            terms=expressions,
            suggest=suggest,
            contracts=tuple(contracts),
            progress=progress,
            notes=notes,
        )

    def attempt(weightless: bool, *notes: str) -> Audit:
        return way(*notes).run(make_subject, weightless=weightless)

    def make_subject() -> Subject:
        return subject if isinstance(subject, Subject) else subject()

    if isinstance(subject, Subject) or probe:
        result = attempt(False)
    else:
        try:
            result = attempt(True)
        except WeightlessReadError as read:
            result = attempt(False, f"weights were allocated, because {read}")
    if measure:
        try:
            result = way().measured(result, make_subject, measure)
        except TraceError as error:
            raise MeasureError(str(error), replace(result, measurement_failed=True)) from error
    if result.suggestion is None or not result.suggestion.outputs:
        return result

    def audit_with(suggested: Sequence[str]) -> Audit:
        scopes, added = participation_scopes, (*terms, *suggested)
        return audit(subject, participation_scopes=scopes, verify=verify, terms=added, progress=progress)

    return replace(result, suggestion=_checked(result.suggestion, audit_with))


def audit_built(
    subject: Subject,
    made: Made,
    *,
    weightless: bool,
    participation_scopes: Sequence[str] = PARTICIPATION_SCOPES,
    verify: bool = False,
    contracts: Sequence[Contract] = (),
    updates_later: Callable[[], bool] = bool,
    notes: Callable[[], Sequence[str]] = tuple,
    progress: _Progress | None = None,
) -> Audit:
    """Audit a subject that was built elsewhere, as by a training script.

    Args:
        subject: the subject.
        made: what was noted while it was built.
        weightless: whether its weights take no memory.
        participation_scopes: name scopes of loss terms that exist only so that a gradient exists.
        verify: also ask TensorFlow's own tape, and compare.
        contracts: what the project says of its training.
        updates_later: tells, once the step is traced, whether the code around it says that it updates, in this round of
            a loop or in another: if this one applies no gradient, all count as applied.
        notes: gives the remarks for the report, once the step is traced.
        progress: called with the name of each phase as it begins.

    Raises:
        TraceError: the step cannot be traced, asks for no gradient, or has no trainable variables.
        DisagreementError: with `verify`, if TensorFlow contradicts a verdict.
    """
    attempt = _Attempt(
        scenario=None,
        name=None,
        participation_scopes=tuple(participation_scopes),
        verify=verify,
        probe=0,
        terms=(),
        suggest=False,
        contracts=tuple(contracts),
        progress=progress,
        notes=(),
        updates_later=updates_later,
    )
    result = attempt.run_built(subject, made, weightless=weightless)
    return replace(result, notes=(*notes(), *result.notes))


def _require_askable(
    subject: Any, probe: Any, measure: Any, has_terms: bool, adds_terms: bool, scopes: Sequence[str]
) -> None:
    """Check what `audit` is asked for, before anything is built.

    Raises:
        SubjectError: it makes no sense.
    """
    for option, number in (("probe", probe), ("measure", measure)):
        if not hasattr(number, "__index__") or number < 0:
            raise SubjectError(f"{option} must be a number of steps to run, or 0 for none, not {number!r}")
    if isinstance(subject, Subject) and (probe or measure):
        raise SubjectError("A probe changes the weights: pass a callable that returns the Subject, to be thrown away.")
    if not isinstance(subject, Subject) and not callable(subject):
        raise SubjectError(f"audit takes a Subject, or a callable that returns one, not {type(subject).__name__}")
    if hasattr(subject, "trainable_variables"):  # a model can be called, too
        raise SubjectError("audit takes a Subject, not a model: pass gradaudit.Subject.from_keras(model, batch).")
    if adds_terms and not scopes:
        raise SubjectError("A participation term needs a name scope: participation_scopes is empty.")
    if has_terms and (probe or measure):
        raise SubjectError("Terms that are added for the audit are in no step that a probe could run: leave one out.")


def _checked(suggestion: Suggestion, audit_with: Callable[[Sequence[str]], Audit]) -> Suggestion:
    """The suggestion with what the audit of the step says that has its terms."""
    try:
        suggested = audit_with(suggestion.terms)
    except SubjectError as error:
        return replace(suggestion, unchecked=str(error))
    left = tuple(path for path in suggested.coverage.uncovered if path not in suggestion.beyond)
    return replace(suggestion, checked={status: suggested.count(status) for status in STATUSES}, left=left)


@dataclass(frozen=True)
class _Analysed:
    """A traced step with its verdicts; `facts` and `verdicts` are of the same variables, in the same order."""

    trace: Trace
    opening: Opening
    calls: Sequence[GradientCall]
    objectives: Sequence[ObjectiveFacts]
    judgement: Judgement
    facts: Sequence[VariableFacts]
    verdicts: Sequence[Verdict]
    applies_none: bool
    """Whether it applies no gradient, and another round of its loop is taken to."""

    def contract_check(self) -> ContractCheck:
        """What holds contracts against it."""
        return ContractCheck(
            self.opening.graph,
            self.objectives,
            self.verdicts,
            nodes={fact.path: fact.node for fact in self.facts},
            updated={fact.path for fact in self.facts if fact.applied},
        )

    def training(self) -> dict[str, str]:
        """The paths of the variables that ought to train, by node."""
        return {fact.node: fact.path for fact in self.facts if fact.trainable}

    def anyway(self) -> set[str]:
        """The variables for which something arrives whatever the participation terms are."""
        return {fact.path for fact in self.facts if self.judgement.arrives_anyway(fact)}

    def zeros(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """By path of a variable the losses and terms from which zeros arrive."""
        return {fact.path: self.judgement.zeros(fact) for fact in self.facts}


@dataclass
class _Attempt:
    """One way through the story: with weights that take no memory, or with real ones."""

    scenario: str | None
    name: str | None
    participation_scopes: tuple[str, ...]
    verify: bool
    probe: int
    terms: tuple[Expression, ...]
    suggest: bool
    contracts: tuple[Contract, ...]
    progress: _Progress | None
    notes: tuple[str, ...]
    updates_later: Callable[[], bool] = bool
    seconds: dict[str, float] = field(default_factory=dict)

    def measured(self, audit: Audit, make_subject: Callable[[], Subject], steps: int) -> Audit:
        """The audit with what the participation terms do in real steps."""

        def build() -> BuiltSubject:
            seed_everything()
            with watched_making() as made:
                subject = make_subject()
                with user_errors("The model cannot be built for this batch", TraceError):
                    subject.build()
                trace, opening = self._traced(subject, made)
            judged, variables, _ = replace(self, suggest=False)._judged(subject, trace, opening, made, weightless=False)
            return BuiltSubject(subject, judged, variables, made)

        with self._phase("measure"):
            found = measured(audit, build, steps, self.participation_scopes)
        return replace(found, seconds={**audit.seconds, **self.seconds})

    def run(self, make_subject: Callable[[], Subject], *, weightless: bool) -> Audit:
        """Build, trace and judge."""
        with garbage_left_alone():
            with ExitStack() as scopes:
                made = scopes.enter_context(watched_making())
                if weightless:
                    scopes.enter_context(weights_without_memory())
                with self._phase("build"):
                    subject = make_subject()
                    with user_errors("The model cannot be built for this batch", TraceError):
                        subject.build()
                with self._phase("trace"):
                    trace, opening = self._traced(subject, made)
            with self._phase("analyse"):
                audit, variables, left_out = self._judged(subject, trace, opening, made, weightless)
        if not self.probe:
            return audit

        def again() -> Audit:
            return self._judged(subject, *self._traced(subject, made), made, weightless)[0]

        with self._phase("probe"):
            return probed(audit, subject, variables, self.probe, left_out, again)

    def run_built(self, subject: Subject, made: Made, *, weightless: bool) -> Audit:
        """Trace and judge what exists."""
        with self._phase("build"), user_errors("The model cannot be built for this batch", TraceError):
            subject.build()
        with garbage_left_alone():
            with self._phase("trace"):
                trace, opening = self._traced(subject, made)
            with self._phase("analyse"):
                return self._judged(subject, trace, opening, made, weightless)[0]

    def _traced(self, subject: Subject, made: Made) -> tuple[Trace, Opening]:
        variables = Variables([*_model_variables(subject), *made.variables, *(subject.variables or ())])
        openings: list[Opening] = []
        trace = trace_step(
            subject.step,
            subject.inputs,
            made=made,
            expectation=lambda trace: _opened(trace, variables, made, openings).expect,
            verify=self.verify,
            participation=Participation(self.terms, self.participation_scopes[0]) if self.terms else None,
        )
        return trace, openings[-1]

    def _judged(
        self, subject: Subject, trace: Trace, opening: Opening, made: Made, weightless: bool
    ) -> tuple[Audit, list[KnownVariable], set[tuple[Source | None, int]]]:
        """The audit, the variables that it is about, and the gradients that do not count for them."""
        step = self._analysed(subject, trace, opening)
        audit = self._audit(subject, step, made, weightless)
        by_node = {node: known for known, node in step.opening.variables.with_nodes()}
        return audit, [by_node[fact.node] for fact in step.facts], _left_out(step.calls, step.objectives)

    def _analysed(self, subject: Subject, trace: Trace, opening: Opening) -> _Analysed:
        """The gradient calls that count, the variables that ought to train, and the verdict on each."""
        universe = _universe(subject)
        if universe is not None and not any(variable.trainable for variable in universe):
            raise TraceError(_NOTHING_TO_TRAIN)
        calls = [call for call in trace.calls if any(variable is not None for variable in call.variables)]
        if not calls:
            raise TraceError(
                "The step never asks for the gradient of a variable: is it the step that trains? It has to call "
                "GradientTape.gradient or tf.gradients."
            )
        opening = opening.finished()
        calls = opening.without_thrown_away(calls)
        objectives = [self._objective(opening, call, position) for position, call in enumerate(calls)]
        updated = updated_variables(opening, trace.updates)
        is_empty = not trace.updates.optimizers and not updated & opening.asked_handles()
        applies_none = is_empty and self.updates_later()
        if applies_none:
            updated |= opening.asked_handles()
        facts = _facts(_listed(universe, opening, objectives), opening, updated)
        judgement = Judgement(opening.graph, objectives)
        if universe is None:
            facts = [fact for fact in facts if not _holds_gradients(fact, objectives, judgement)]
        if not any(variable.trainable for variable in facts):
            raise TraceError(_NOTHING_TO_TRAIN)
        if subject.model is not None and subject.variables is None:
            listed = {fact.node for fact in facts}
            others = _facts(_trainable(opening), opening, updated)
            facts += [other for other in others if other.node not in listed and judgement.is_untracked(other)]
        verdicts = tuple(judgement.verdict(variable) for variable in facts)
        for variable, verdict in zip(facts, verdicts, strict=True):
            opening.graph.facts(variable.node).status = verdict.status
        return _Analysed(trace, opening, calls, objectives, judgement, facts, verdicts, applies_none)

    def _audit(self, subject: Subject, step: _Analysed, made: Made, weightless: bool) -> Audit:
        """All that the report tells of an analysed step."""
        graph, trace = step.opening.graph, step.trace
        kept = step.contract_check().of(self.contracts)
        verdicts = tuple(replace(verdict, excuse=kept.excused.get(verdict.path)) for verdict in step.verdicts)
        groups = group(verdicts, graph, RULE_CODES)
        objectives = step.judgement.objectives(step.facts)
        scopes = trace.scope_names.opened(self.participation_scopes)
        covered = coverage(objectives, verdicts, step.zeros(), scopes, step.anyway())
        optimizers = list(trace.updates.optimizers.values())
        costs = _costs(covered, optimizers, step.opening)
        return ShownAudit(
            subject=self.name or subject.name or str(getattr(subject.step, "__name__", "step")),
            scenario=self.scenario,
            objectives=objectives,
            variables=verdicts,
            groups=groups,
            findings=find(
                groups,
                {verdict.path: verdict.cause for verdict in verdicts},
                unbuilt_layers(_roots(subject, trace), made),
                idle_terms(graph, step.objectives, objectives, step.training()),
                missing_terms(step.opening, trace, self.participation_scopes),
                covered.terms,
                costs,
                _untold(step.calls, verdicts),
                kept,
            ),
            gradients=graph.for_reports(),
            coverage=covered,
            costs=costs,
            suggestion=self._suggestion(subject, step, covered) if self.suggest else None,
            made_at=made.lines(),
            optimizer=", ".join(dict.fromkeys(optimizer_name(each) for each, _ in optimizers)) or None,
            notes=(
                *self.notes,
                *_notes(subject, trace, step.facts, step.objectives),
                *([_APPLIED_LATER] if step.applies_none else ()),
                *(_verification(step.calls) if self.verify else ()),
            ),
            weights_allocated=not weightless,
            seconds=self.seconds,
        )

    def _suggestion(self, subject: Subject, step: _Analysed, covered: Coverage) -> Suggestion:
        outputs = step.trace.origins.outputs
        models = CalledModels(step.trace.origins, subject.model)
        known = {node: known.variable for known, node in step.opening.variables.with_nodes()}
        lacking = {f.node: v for f, v in zip(step.facts, step.verdicts, strict=True) if v.path in covered.uncovered}
        idle = models.idle([(verdict.path, known[node]) for node, verdict in lacking.items()], list(known.values()))
        return suggestion(
            step.opening.graph,
            step.objectives,
            lacking,
            {each.name: Access(models.name(each.model), each.access, each.tensor.dtype.name) for each in outputs},
            self.participation_scopes[0],
            Step(models.told(), subject.is_of_keras, idle),
            {loss.name: _dtype(call) for loss, call in zip(step.objectives, step.calls, strict=True)},
        )

    def _objective(self, opening: Opening, call: GradientCall, position: int) -> ObjectiveFacts:
        name = "loss" if position == 0 else f"loss {position + 1}"
        node = opening.graph.add_objective(name, call.source)
        terms = []
        barred = participation_nodes(opening, self.participation_scopes)
        targets, window = opening.weighted_targets(call), opening.window(call)
        for term in loss_terms(opening, targets, window, self.participation_scopes, barred):
            term_node = opening.graph.add_term(
                node, term.name, term.source, term.parts, term_kind=term.kind, weight=term.weight
            )
            terms.append(TermFacts(term_node, term.name, term.kind, term.weight, term.source))
        known = [opening.variables.add(variable) for variable in call.variables if variable is not None]
        asked = {opening.variables.node(variable, opening.graph): variable for variable in known}
        return ObjectiveFacts(
            node=node,
            name=name,
            source=call.source,
            window=window,
            targets=tuple(opening.targets(call)),
            terms=tuple(terms),
            asked=frozenset(asked),
            watched=frozenset(
                n for n, variable in asked.items() if call.watched is None or variable.handles & call.watched
            ),
            zeros_for_none=call.zeros_for_none,
            barred=barred,
            is_inner=opening.is_inner(call),
        )

    @contextmanager
    def _phase(self, name: str) -> Any:
        if self.progress is not None:
            self.progress(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def _dtype(call: GradientCall) -> str:
    """The type of what is differentiated."""
    return next((str(target.dtype.name) for target in call.targets), "float32")


def _costs(
    covered: Coverage, optimizers: Sequence[tuple[Any, set[int]]], opening: Opening
) -> tuple[ParticipationCost, ...]:
    """What the participation terms cost under each optimizer."""
    paths = set(covered.covered)
    if not paths:
        return ()
    known = [known for known, _ in opening.variables.with_nodes()]
    facts = []
    for optimizer, handles in optimizers:
        given = [variable for variable in known if variable.handles & handles]
        slots = [variable.variable for variable in given if variable.path in paths]
        facts.append(optimizer_facts(optimizer, {variable.path: variable.variable for variable in given}, slots))
    return participation_costs(covered, facts)


def _opened(trace: Trace, variables: Variables, made: Made, openings: list[Opening]) -> Opening:
    """The opening of a trace; kept, because a step may be traced more than once and the last one counts."""

    def later() -> list[Any]:
        called = list(trace.origins.called.values())
        return [*made.variables, *(variable for layer in called for variable in layer.variables)]

    openings.append(Opening(trace, variables.forgetting_nodes(later), Edges()))
    return openings[-1]


def _roots(subject: Subject, trace: Trace) -> list[Any]:
    """The model that is trained, or the layers that the step calls, outermost first."""
    return list(trace.origins.called.values()) if subject.model is None else [subject.model]


def _model_variables(subject: Subject) -> Sequence[Any]:
    return () if subject.model is None else tuple(subject.model.variables)


def _listed(
    universe: Sequence[Any] | None, opening: Opening, objectives: Sequence[ObjectiveFacts]
) -> list[KnownVariable]:
    """Every variable that ought to train, or is frozen, in the order of the model or of their first use.

    One whose type carries no gradient ought to train if it is listed as trainable, or asked for.
    """
    named = [opening.variables.add(variable) for variable in universe or ()]
    asked = frozenset().union(*(objective.asked for objective in objectives))
    found = set(_trainable(opening) if universe is None else ())
    for variable, node in opening.variables.with_nodes():
        if node in asked or variable in found:
            named.append(variable)
    return [variable for variable in named if variable.trainable or _can_learn(variable)]


def _trainable(opening: Opening) -> list[KnownVariable]:
    """The variables that the step touches and that could train."""
    return [known for known, _ in opening.variables.with_nodes() if known.trainable and _can_learn(known)]


def _facts(variables: Sequence[KnownVariable], opening: Opening, updated: set[int]) -> list[VariableFacts]:
    return [
        VariableFacts(
            node=opening.variables.node(variable, opening.graph),
            path=variable.path,
            shape=variable.shape,
            dtype=variable.dtype,
            trainable=variable.trainable,
            applied=bool(variable.handles & updated),
            carries=_can_learn(variable),
        )
        for variable in dict.fromkeys(variables)
    ]


def _holds_gradients(fact: VariableFacts, objectives: Sequence[ObjectiveFacts], judgement: Judgement) -> bool:
    """Whether a variable keeps gradients for later, and is not itself to learn, though it is not said of it."""
    is_asked = any(fact.node in objective.asked for objective in objectives)
    return fact.applied and not is_asked and not judgement.is_untracked(fact)


def _universe(subject: Subject) -> Sequence[Any] | None:
    """The variables that ought to train, and those of a model that are frozen; None if the step alone can tell."""
    if subject.variables is not None:
        return subject.variables
    if subject.model is None:
        return None
    frozen = [
        variable
        for layer in subject.model._flatten_layers()
        for variable in layer._trainable_variables
        if not variable.trainable
    ]
    return [*subject.model.trainable_variables, *frozen]


def _notes(
    subject: Subject, trace: Trace, facts: Sequence[VariableFacts], objectives: Sequence[ObjectiveFacts]
) -> Iterator[str]:
    """Remarks on what the step does with its variables, apart from the verdicts."""
    asked = frozenset().union(*(objective.asked for objective in objectives))
    updated = [fact.path for fact in facts if not fact.trainable and fact.applied and fact.node in asked]
    if updated:
        yield (
            f"the step updates what is frozen, with its gradient: {', '.join(updated)}. Leave it out of the gradient "
            "call, or make it trainable."
        )
    for optimizer in trace.updates.without_gradients:
        yield f"{FAILS}: {optimizer}.apply raises ValueError where it is given no gradient at all."
    kept = _trained_by_the_kept_step(subject)
    if kept:
        yield (
            f"fit keeps the step that it traced before, which still trains {', '.join(kept)}: call compile again "
            "after a change to which layers train. Audited is the step as it would be traced now."
        )


def _verification(calls: Sequence[GradientCall]) -> Iterator[str]:
    """What TensorFlow returned, counted, where it was asked too, and where it was not compared."""
    returned: dict[int, bool] = {}
    for call in (call for call in calls if call.verified):
        for variable, handle, result in zip(call.variables, call.handles, call.results, strict=True):
            if variable is not None:
                returned[id(handle)] = returned.get(id(handle), False) or result is not None
    some = sum(returned.values())
    none = len(returned) - some
    answers = [
        *([f"None for exactly the {_variables(none)} that should get none"] if none else ()),
        *([f"a gradient for exactly the {_variables(some)} that should get one"] if some else ()),
    ]
    if answers:
        yield f"verified: TensorFlow returned {', and '.join(answers)}; whether one is zero is not seen."
    skipped = dict.fromkeys(str(call.source) for call in calls if not call.verified)
    if skipped:
        yield (
            f"not verified: the gradient call at {', '.join(skipped)}, which asks for zeros in place of None, or fails "
            "as is foretold."
        )


def _variables(count: int) -> str:
    return f"{count} variable{'' if count == 1 else 's'}"


def _left_out(calls: Sequence[GradientCall], objectives: Sequence[ObjectiveFacts]) -> set[tuple[Source | None, int]]:
    """Gradients that only feed another loss, of variables that are asked for elsewhere too: by line and handle."""
    inner: set[tuple[Source | None, int]] = set()
    outer: set[tuple[Source | None, int]] = set()
    for call, objective in zip(calls, objectives, strict=True):
        asked = inner if objective.is_inner else outer
        asked |= {(call.source, id(handle)) for handle in call.handles}
    elsewhere = {handle for _, handle in outer}
    return {(line, handle) for line, handle in inner - outer if handle in elsewhere}


def _untold(calls: Sequence[GradientCall], verdicts: Sequence[Verdict]) -> list[UnregisteredOp]:
    """The ops at which gradient calls fail, without those that are told as the cause of an opaque variable."""
    told = {(v.cause.op_type, v.cause.source) for v in verdicts if v.status == "opaque" and v.cause is not None}
    failing = dict.fromkeys(op for call in calls for op in call.unregistered)
    return [op for op in failing if (op.op_type, op.source) not in told]


def _trained_by_the_kept_step(subject: Subject) -> list[str]:
    """The variables that `fit` goes on to train though they were frozen since, because it does not trace again."""
    model = subject.model
    if model is None or getattr(model, "train_function", None) is None:
        return []
    return [variable.path for variable in model.optimizer._trainable_variables if not variable.trainable]


def _can_learn(variable: KnownVariable) -> bool:
    """Whether a variable's type can carry a gradient: seeds and counters are no variables to train."""
    return variable.dtype.startswith(("float", "bfloat", "complex"))
