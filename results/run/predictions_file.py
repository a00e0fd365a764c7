"""Out-of-fold predictions as the content of a file, and back."""

import io
import zipfile
import zlib
from typing import Final

import numpy as np

from results.run.records import OutOfFold

NOT_A_ZIP: Final = (ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def packed_predictions(out_of_fold: OutOfFold) -> bytes:
    """Return out-of-fold predictions as the content of a file of a run folder."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: getattr(out_of_fold, name) for name in OutOfFold.ARRAYS})
    return buffer.getvalue()


def unpacked_predictions(content: bytes) -> OutOfFold:
    """Return the predictions in a file; whether their values can be is not checked.

    Raises:
        ValueError: If it does not hold them; the message is the end of a sentence.
        MemoryError: If they do not fit, or a damaged header asks for more than there is.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return OutOfFold(**{name: stored[name] for name in OutOfFold.ARRAYS})
    except KeyError as error:
        raise ValueError(f"it lacks {error.args[0]}") from error
    except NOT_A_ZIP as error:
        raise ValueError(str(error).splitlines()[0] if str(error) else "it ends too early") from error
