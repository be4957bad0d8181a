# SPDX-License-Identifier: MIT
"""Print formats/code_books.c: the code books of the iq1 to iq3 types, packed, from the tables of the gguf package."""
import numpy as np
from gguf import quants

BOOKS = [("iq1", quants.IQ1_S, 2), ("iq2_xxs", quants.IQ2_XXS, 2), ("iq2_xs", quants.IQ2_XS, 2),
         ("iq2_s", quants.IQ2_S, 2), ("iq3_xxs", quants.IQ3_XXS, 3), ("iq3_s", quants.IQ3_S, 3)]

print("/* SPDX-License-Identifier: MIT */")
print("/* Made by tests/oracle/make_code_books.py; see code_books.h. */")
print('#include "formats/code_books.h"\n')
print("/* clang-format off */", end="")
for name, source, bits in BOOKS:
    source.init_grid()
    values = [int(v) for v in source.grid_map]
    grid = source.grid.reshape(source.grid_shape).astype(int)
    codes = np.vectorize(values.index)(grid)
    words = (codes << (bits * np.arange(codes.shape[1]))).sum(axis=1)
    print(f"\nconst uint16_t hone_{name}_book[{len(words)}] = {{")
    for i in range(0, len(words), 14):
        print("    " + ", ".join(f"0x{w:04x}" for w in words[i:i + 14]) + ",")
    print("};")
