"""The native part, which setup.cfg cannot describe. Without a compiler, all is done in Python."""

import sys
import sysconfig

from setuptools import Extension, setup

if sys.version_info < (3, 11):  # noqa: UP036 - Before pip looks for packages that there are not.
    sys.exit("error: Python 3.11 or newer is needed")

_DIGITS, _POWERS = "engine/legacy_json/digits.h", "engine/powers.h"

# No contraction: a fused multiply-add is another number. Nor what CFLAGS may ask for: code that
# assumes there is no NaN, or a module that, once loaded, makes the whole process round the smallest
# numbers to zero.
_EXACT = ["-fno-fast-math", "-fno-finite-math-only", "-fno-unsafe-math-optimizations"]
_EXACT += ["-ffp-contract=off"]

# At the top level, see engine/native.py. In the stable ABI: one wheel serves this Python and all
# later ones.
_EXTENSIONS = [
    Extension(
        name,
        [source],
        depends=headers,
        extra_compile_args=["-O3", *_EXACT],
        extra_link_args=_EXACT,
        py_limited_api=True,
        optional=True,
    )
    for name, source, headers in (
        ("_similarities_dot", "engine/triangle/dot.c", []),
        ("_similarities_numbers", "engine/embeddings/numbers.c", [_POWERS]),
        ("_similarities_text", "engine/legacy_json/text.c", [_DIGITS, _POWERS]),
    )
]
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    setup()  # Free-threaded Python has no stable ABI, and setuptools refuses a wheel tagged so.
else:
    setup(ext_modules=_EXTENSIONS, options={"bdist_wheel": {"py_limited_api": "cp311"}})
