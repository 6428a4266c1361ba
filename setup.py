"""The native part, which setup.cfg cannot describe. Without a compiler, all is done in Python."""

from setuptools import Extension, setup

# At the top level, see engine/native.py. In the stable ABI, as the tag of the wheel in setup.cfg
# says. No contraction: a fused multiply-add is another number.
setup(
    ext_modules=[
        Extension(
            name,
            [source],
            depends=headers,
            extra_compile_args=["-O3", "-ffp-contract=off"],
            py_limited_api=True,
            optional=True,
        )
        for name, source, headers in (
            ("_similarities_dot", "engine/triangle/dot.c", []),
            ("_similarities_text", "engine/legacy_json/text.c", ["engine/legacy_json/digits.h"]),
        )
    ]
)
