"""Frozen stages as an ONNX graph: exported once per machine and key, run by ONNX Runtime on the CPU.

    <cache>/<key>.onnx        the graph; the output of every stage is one of its outputs
    <cache>/<key>.refused     versions of the tools, and why they make no graph; others try again
    <cache>/<key>.lock        held while one process exports; dies with it

The key holds weights, structure, input shape and the version of torch. One file serves every set of stages
that a later pass may ask for: what a pass does not need is cut off when the graph is loaded.

ONNX and ONNX Runtime are imported when a graph is opened: in a small search none is.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import torch
from torch import Tensor, nn

from trainables.common.errors import PrefixError
from trainables.common.files import write_atomically
from trainables.features.bn_folding import TOLERANCE
from trainables.features.locks import held
from trainables.features.writer import is_out_of_room
from trainables.models.readouts import run_stages
from trainables.runtime.memory import is_out_of_memory

if TYPE_CHECKING:
    import onnx

_INPUT: Final = "images"
_FORMAT: Final = 1  # raise it when what is exported changes
_BATCH: Final = 4  # activations of more images leave the caches of a core: 196 images/s at 4, 143 at 32


class OnnxStages:
    """Stages in ONNX Runtime, on as many threads as torch has in this process.

    Args:
        model: ONNX graph with the output of every stage.
    """

    name = "ONNX Runtime"
    batch_size = _BATCH

    def __init__(self, model: "onnx.ModelProto") -> None:
        self._model = model
        self._sessions: dict[tuple[str, ...], Any] = {}

    def __call__(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Map images (B, C, S, S) to features (B, C', H, W) by stage; deeper stages do not run."""
        names = tuple(dict.fromkeys(wanted))
        if names not in self._sessions:
            self._sessions[names] = self._session(names)
        found = self._sessions[names].run(list(names), {_INPUT: images.contiguous().numpy()})
        return {name: torch.from_numpy(values) for name, values in zip(names, found, strict=True)}

    def _session(self, names: tuple[str, ...]) -> Any:
        import onnx.utils

        from trainables.common.onnx_runtime import onnxruntime

        # ONNX Runtime computes every node of a graph, wanted or not.
        graph = onnx.utils.Extractor(self._model).extract_model([_INPUT], list(names))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


class OnnxStore:
    """Cache of the ONNX graph of some stages.

    Args:
        cache: Folder of the graphs, created if missing; None stores nothing.
        stages: Stages in eval mode.
        shape: Shape (C, S, S) of one input.
    """

    def __init__(
        self, cache: Path | None, stages: "OrderedDict[str, nn.Module]", shape: tuple[int, ...]
    ) -> None:
        self._cache, self._stages, self._shape = cache, stages, shape

    @cached_property
    def key(self) -> str:
        """Name of the files: a hash of weights, structure, input shape and the version of torch."""
        described = {
            "format": _FORMAT,
            "torch": torch.__version__,
            "shape": self._shape,
            "stages": [(name, str(stage)) for name, stage in self._stages.items()],
        }
        digest = hashlib.sha256(json.dumps(described).encode())
        for stage in self._stages.values():
            for name, tensor in stage.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:24]

    def holds(self) -> bool:
        """True if a graph, or the reason why there is none, is stored."""
        path = self._path("onnx")
        return path is not None and (path.exists() or self._refused() is not None)

    def open(self, folded: "OrderedDict[str, nn.Module]", example: Tensor) -> OnnxStages:
        """Load the stored graph, or export it; either way it is compared with the stages.

        Args:
            folded: Stages to export; they compute the same as the stages of this store.
            example: A real batch to compare on, shape (B, C, S, S).

        Raises:
            PrefixError: If the stages cannot be exported, or could not be before by the same tools, the graph
                computes something else, or memory or disk do not suffice now.
            OSError: If the cache cannot be written.
        """
        with self._alone():
            path = self._path("onnx")
            if path and (stored := self._read(path, example)):
                return stored  # other tools may have made it than those that could not
            if (refused := self._refused()) is not None:
                raise PrefixError(refused)
            model = self._export(folded)
            fresh = OnnxStages(model)
            if fault := self._fault(fresh, example):
                self._refuse(fault)
            if path:
                write_atomically(path, model.SerializeToString())
            return fresh

    def _read(self, path: Path, example: Tensor) -> OnnxStages | None:
        """Read the stored graph; None if it is missing or damaged, and must be exported (again)."""
        if not path.exists():
            return None
        import onnx

        try:
            stored = OnnxStages(onnx.load(path))
        except Exception:  # protobuf raises exceptions of several unrelated types
            return None
        return None if self._fault(stored, example) else stored

    def _fault(self, candidate: OnnxStages, example: Tensor) -> str | None:
        """Fault of a graph, found by comparison with the output of each stage; None if it may be used.

        Raises:
            PrefixError: If the machine cannot run it now.
        """
        try:
            found = candidate(example, list(self._stages))
        except Exception as error:  # ONNX Runtime has one class for each status and no common one
            fault = f"ONNX Runtime cannot run the stages: {_first_line(error)}"
            if _is_passing(error):
                raise PrefixError(fault) from error
            return fault
        with torch.no_grad():
            for name, features in run_stages(self._stages, example):
                largest = float(features.abs().max())
                difference = float((features - found[name]).abs().max())
                if not difference <= TOLERANCE * largest:
                    return (
                        f"ONNX Runtime differs by {difference:.2g} after stage {name}, where features reach "
                        f"{largest:.2g} and {TOLERANCE:g} of that is allowed"
                    )
        return None

    def _export(self, stages: "OrderedDict[str, nn.Module]") -> "onnx.ModelProto":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the exporter warns of its own parts
                program = torch.onnx.export(
                    _EveryStage(stages).eval(),
                    (torch.zeros(2, *self._shape),),
                    dynamo=True,
                    verbose=False,
                    input_names=[_INPUT],
                    output_names=list(stages),
                    dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                )
        except Exception as error:  # whatever the exporter fails with, torch itself computes the stages
            self._refuse(f"the stages cannot be exported to ONNX: {_first_line(error)}", error)
        if program is None:
            self._refuse("the stages cannot be exported to ONNX: the exporter returned nothing")
        return program.model_proto

    def _refused(self) -> str | None:
        """The stored reason why these tools make no graph; None where there is none."""
        path = self._path("refused")
        if path is None or not path.exists():
            return None
        tools, _, reason = path.read_text().partition("\n")
        return reason if tools == _tools() else None

    def _refuse(self, reason: str, cause: Exception | None = None) -> NoReturn:
        path = self._path("refused")
        if path is not None and not _is_passing(cause):
            write_atomically(path, f"{_tools()}\n{reason}")  # or every worker would spend seconds on it
        raise PrefixError(reason) from cause

    def _path(self, kind: str) -> Path | None:
        return None if self._cache is None else self._cache / f"{self.key}.{kind}"

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        # Other processes want the same file: waiting for it is cheaper than exporting beside each other.
        path = self._path("lock")
        if path is None:
            yield
            return
        with held(path, may_wait=True):
            yield


class _EveryStage(nn.Module):
    def __init__(self, stages: "OrderedDict[str, nn.Module]") -> None:
        super().__init__()
        self.stages = nn.ModuleDict(stages)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(features for _, features in run_stages(OrderedDict(self.stages.items()), images))


def _tools() -> str:
    """Versions of what makes graphs and runs them; that of torch is in the key."""
    from trainables.common.onnx_runtime import onnxruntime

    return f"onnxscript {importlib.metadata.version('onnxscript')}, onnxruntime {onnxruntime.__version__}"


def _is_passing(error: BaseException | None) -> bool:
    """True if an error, or one that it came from, is the state of the machine and not of the stages."""
    while error is not None:
        has_no_room = isinstance(error, OSError) and is_out_of_room(error)
        if has_no_room or is_out_of_memory(error):
            return True
        error = error.__cause__
    return False


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
