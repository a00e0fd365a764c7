"""Libraries are imported without torch's compiler, and have it as soon as they use it."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

LIBRARIES = "from trainables.models.torchvision_library import models"
IMPORTS = f"{LIBRARIES}\nfrom trainables.models.timm_library import timm"
ROI_ALIGN = "__import__('sys').modules['torchvision.ops.roi_align'].is_compile_supported('cpu')"


def said_by(*lines: str) -> str:
    script = "\n".join(("import sys, torch", *lines))
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("used", [ROI_ALIGN, "torch._dynamo.is_compiling()"])
def test_what_asks_for_the_compiler_gets_it_then(used: str) -> None:
    loaded = "print(getattr(sys.modules.get('torch._dynamo'), '__file__', None))"
    before, answer, after = said_by(IMPORTS, loaded, f"print({used})", loaded).splitlines()
    assert before == "None"
    assert answer in ("True", "False")
    assert after.endswith("__init__.py")


def test_nets_of_both_libraries_are_built_and_run_without_it() -> None:
    said = said_by(
        IMPORTS,
        "with torch.inference_mode():",
        "    models.mobilenet_v2().eval()(torch.rand(1, 3, 32, 32))",
        "    timm.create_model('resnet10t').eval()(torch.rand(1, 3, 32, 32))",
        "print('torch._dynamo' in sys.modules)",
    )
    assert said.strip() == "False"


def test_a_marked_function_computes_the_same_and_is_marked_when_it_is_called() -> None:
    said = said_by(
        "from trainables.common.late_compiler import without_compiler",
        "with without_compiler():",
        "    @torch.compiler.disable",
        "    def plain(x): return x + 1",
        "    @torch.compiler.disable(recursive=False)",
        "    def told(x): return x + 2",
        "print('torch._dynamo' in sys.modules)",
        "print(plain(1), told(1), plain.__name__, 'torch._dynamo' in sys.modules)",
    )
    assert said.split() == ["False", "2", "3", "plain", "True"]


def test_an_imported_compiler_stays() -> None:
    said = said_by(
        "import torch._dynamo as before",
        "from trainables.common.late_compiler import without_compiler",
        "with without_compiler():",
        "    import torch._dynamo.utils as part",
        "print(sys.modules['torch._dynamo'] is before, part.__file__.endswith('utils.py'))",
    )
    assert said.split() == ["True", "True"]
