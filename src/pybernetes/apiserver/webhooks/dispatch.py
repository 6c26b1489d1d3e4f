"""Sends a write to the webhooks that want it: mutating ones one after another, validating ones all at once.

Follows apiserver's plugin/webhook: a mutating webhook with reinvocationPolicy IfNeeded is called once more when what
came after it changed the object; a call that fails is a refusal unless the failurePolicy is Ignore.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Sequence

from pybernetes.api import patch, resources
from pybernetes.api.errors import ApiError, BadRequest, InternalError, NotFound
from pybernetes.api.objects import Obj, copied, encode, labels_of
from pybernetes.api.resources import NAMESPACES, Resource
from pybernetes.api.scheme import Scheme
from pybernetes.api.selectors import Selector

from ..admission.call import Call, Operation
from ..metrics import WebhookCall
from .caller import Caller, CallFailed
from .conditions import Undecided, met
from .hooks import Hook, Hooks, Invocation, Shelves
from .review import BadAnswer, Verdict, denied, review, verdict

log = logging.getLogger("pybernetes.apiserver.webhooks")


class Webhooks:
    """What admission asks of them."""

    def __init__(self, cache: Shelves, scheme: Scheme, caller: Caller) -> None:
        self._mutating = Hooks(resources.MUTATING_WEBHOOKS, cache, scheme)
        self._validating = Hooks(resources.VALIDATING_WEBHOOKS, cache, scheme)
        self._scheme = scheme
        self._caller = caller
        self.observe: Callable[[WebhookCall], None] = lambda _: None
        """Told of every call."""

    async def close(self) -> None:
        await self._caller.close()

    def mutators(self, row: Resource, part: str, operation: Operation) -> Sequence[Invocation]:
        return self._mutating.matching(row, part, operation)

    def validators(self, row: Resource, part: str, operation: Operation) -> Sequence[Invocation]:
        return self._validating.matching(row, part, operation)

    def wants(self, row: Resource, part: str, operation: Operation) -> bool:
        """Whether any webhook's rules name it."""
        return bool(self.mutators(row, part, operation) or self.validators(row, part, operation))

    async def mutate(self, call: Call, again: Callable[[], None]) -> None:
        """Edit `call.new` as the mutating webhooks say; `again` runs the built-in steps anew over what they changed.

        Raises ApiError.
        """
        earlier: list[Invocation] = []
        anew: list[Invocation] = []
        changed = False
        for index, wanted in enumerate(self.mutators(call.row, call.part, call.operation)):
            if not await self._selected(call, wanted):
                continue
            if await self._mutated(call, wanted, f"round_0_index_{index}"):
                changed = True
                anew, earlier = [*anew, *earlier], []
            if wanted.hook.reinvoked:
                earlier.append(wanted)
        if not changed:
            return
        before = encode(call.new)
        again()
        if encode(call.new) != before:
            anew = [*anew, *earlier]
        for index, wanted in enumerate(anew):
            if await self._selected(call, wanted):
                await self._mutated(call, wanted, f"round_1_index_{index}")

    async def _mutated(self, call: Call, wanted: Invocation, where: str) -> bool:
        """Whether the webhook changed the object."""
        hook = wanted.hook
        said = await self._ask(call, wanted, where, mutating=True)
        changed = said is not None and bool(said.operations) and await self._patched(call, wanted, said)
        note = {"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}
        call.annotations[f"mutation.webhook.admission.k8s.io/{where}"] = encode(note).decode()
        return changed

    async def _patched(self, call: Call, wanted: Invocation, said: Verdict) -> bool:
        if call.new is None:
            raise internal(
                f'admission webhook "{wanted.hook.name}" attempted to modify the object, '
                "which is not supported for this operation"
            )
        shown = await self._as(call.new, call, wanted.row)
        try:
            new = copied(patch.json_patch(shown, said.operations))
        except ApiError as error:
            raise internal(str(error.__cause__ or error)) from error
        if not isinstance(new, dict) or not isinstance(new.get("metadata", {}), dict):
            raise internal(f'admission webhook "{wanted.hook.name}" left no object')
        new = await self._back(new, call, wanted.row)
        if not call.part:
            self._fit(call, new, wanted.hook)
        if new == call.new:
            return False
        call.new.clear()
        call.new.update(new)
        return True

    def _fit(self, call: Call, new: Obj, hook: Hook) -> None:
        """Make a patched object what a decoded body is: of its schema, with its defaults."""
        try:
            self._scheme.conform(new, call.row)
        except ApiError as error:
            raise internal(f'admission webhook "{hook.name}": {error.message}') from error
        meta = new.get("metadata") or {}
        if (meta.get("name", ""), meta.get("namespace", "")) != (call.name, call.namespace):
            raise BadRequest("the name of the object does not match the name on the URL")
        self._scheme.strategy(call.row).default(new)

    async def _as(self, obj: Obj, call: Call, row: Resource) -> Obj:
        """An object of the request in the version a webhook wants."""
        if row == call.row or call.part not in ("", "status"):
            return obj
        return await call.registry.in_version(obj, call.row, row)

    async def _back(self, obj: Obj, call: Call, row: Resource) -> Obj:
        if row == call.row or call.part not in ("", "status"):
            return obj
        return await call.registry.in_version(obj, row, call.row)

    async def validate(self, call: Call) -> None:
        """Ask all validating webhooks at once. Raises the ApiError of the first in order that said no."""
        wanted = [
            one for one in self.validators(call.row, call.part, call.operation) if await self._selected(call, one)
        ]
        if not wanted:
            return
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._refusal(call, one, f"round_0_index_{index}"))
                for index, one in enumerate(wanted)
            ]
        for task in tasks:
            if (error := task.result()) is not None:
                raise error

    async def _refusal(self, call: Call, wanted: Invocation, where: str) -> ApiError | None:
        try:
            await self._ask(call, wanted, where, mutating=False)
        except ApiError as error:
            return error
        return None

    async def _ask(self, call: Call, wanted: Invocation, where: str, *, mutating: bool) -> Verdict | None:
        """What the webhook said; None when it failed and may. Raises ApiError for a no."""
        hook, kind = wanted.hook, "admit" if mutating else "validating"
        if call.dry_run and hook.side_effects not in ("None", "NoneOnDryRun"):
            raise BadRequest(f'admission webhook "{hook.name}" does not support dry run')
        begun = time.perf_counter()
        said: Verdict | None = None
        rejected = True
        try:
            said = await self._said(call, wanted, where, mutating=mutating)
            rejected = said is not None and not said.allowed
        finally:
            took = time.perf_counter() - begun
            failed_open = said is None and not rejected
            self.observe(WebhookCall(hook.name, kind, call.operation, took, rejected, failed_open))
        if said is None:
            return None
        call.warnings.extend(said.warnings)
        call.annotations.update({f"{hook.name}/{key}": value for key, value in said.annotations.items()})
        if not said.allowed:
            raise denied(hook.name, said.status)
        return said

    async def _said(self, call: Call, wanted: Invocation, where: str, *, mutating: bool) -> Verdict | None:
        """Raises InternalError for a failed call that may not fail."""
        hook, uid = wanted.hook, str(uuid.uuid4())
        asked = await self._review(call, wanted, uid)
        try:
            answer = await self._caller.call(hook.client, asked, timeout_seconds=hook.timeout_seconds)
            return verdict(answer, uid=uid, version=hook.version, mutating=mutating)
        except (CallFailed, BadAnswer) as error:
            why = str(error) if isinstance(error, CallFailed) else f"received invalid webhook response: {error}"
            text = f'failed calling webhook "{hook.name}": {why}'
            log.warning("call failed open=%s %s", hook.fails_open, text)
            if not hook.fails_open:
                raise internal(text) from error
        kind = "mutation" if mutating else "validating"
        call.annotations[f"failed-open.{kind}.webhook.admission.k8s.io/{where}"] = hook.name
        return None

    async def _review(self, call: Call, wanted: Invocation, uid: str) -> Obj:
        new = await self._as(call.new, call, wanted.row) if call.new is not None else None
        old = await self._as(call.old, call, wanted.row) if call.old is not None else None
        return review(call, wanted, new=new, old=old, uid=uid)

    async def _selected(self, call: Call, wanted: Invocation) -> bool:
        """The selectors and conditions. Raises NotFound for a namespace that is not there, Forbidden."""
        hook = wanted.hook
        if not (self._in_namespace(call, hook.namespaces) and _has_labels(call, hook.objects)):
            return False
        if not hook.conditions:
            return True
        try:
            return met(hook, (await self._review(call, wanted, ""))["request"], call)
        except Undecided as error:
            raise call.forbidden(str(error)) from error

    def _in_namespace(self, call: Call, selector: Selector) -> bool:
        if not selector:
            return True
        if call.row is NAMESPACES and not call.part:
            return selector.matches(labels_of(call.obj))
        if not call.namespace:
            return True
        namespace = call.registry.read(NAMESPACES, "", call.namespace)
        if namespace is None:
            raise NotFound.of("namespaces", call.namespace)
        return selector.matches(labels_of(namespace))


def _has_labels(call: Call, selector: Selector) -> bool:
    """Either object's labels will do: nobody leaves a webhook behind by taking a label away."""
    return not selector or any(one is not None and selector.matches(labels_of(one)) for one in (call.new, call.old))


def internal(text: str) -> InternalError:
    return InternalError(f"Internal error occurred: {text}", details={"causes": [{"message": text}]})
