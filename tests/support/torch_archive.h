/* SPDX-License-Identifier: MIT */
/*
 * PyTorch checkpoints in words of the byte builder. A pickle is a program; these macros are its phrases, so that a test
 * can put a ^ before the opcode it means.
 */
#ifndef HONE_TORCH_ARCHIVE_H
#define HONE_TORCH_ARCHIVE_H

#include "tests/support/temp_dir.h"
#include "tests/support/zip_builder.h"

#define P2 "raw=\\x80\\x02 "
#define STR(text) "raw=U s8=" text " "
#define INT(n) "raw=K u8=" #n " "
#define TUPLE1(a) INT(a) "raw=\\x85 "
#define TUPLE2(a, b) INT(a) INT(b) "raw=\\x86 "
#define GLOBAL(module, name) "raw=c" module "\\x0a" name "\\x0a "
#define STORAGE(type, key, n) "raw=( " STR("storage") GLOBAL("torch", type) STR(key) STR("cpu") INT(n) "raw=t raw=Q "
#define HOOKS "raw=\\x89 " GLOBAL("collections", "OrderedDict") "raw=)R "
/* A tensor but for the REDUCE that makes it, so that a ^ can stand there. */
#define VIEW(storage, first, shape, strides)                                                                           \
    GLOBAL("torch._utils", "_rebuild_tensor_v2") "raw=( " storage INT(first)                                           \
    shape strides HOOKS "raw=t "
#define F32_16 STORAGE("FloatStorage", "0", 16)
#define GOOD VIEW(F32_16, 0, TUPLE2(2, 3), TUPLE2(3, 1)) "raw=R "
#define DICT(items) P2 "raw=}( " items "raw=u. "
#define W(tensor) DICT(STR("w") tensor)

/* The entries of torch_archive_build(), in order. */
enum { PKL, ORDER, DATA0, DATA1, VERSION };

/*
 * torch_archive_build() makes an archive of this pickle, storage 0 of 16 floats 0, 1, ..., and storage 1 of 8 bytes.
 * Returns the position of the pickle's mark.
 */
uint64_t torch_archive_build(zip_builder *z, const char *script, unsigned flags);

/* torch_archive_write() writes x.pt into dir and returns its path, like hone_temp_path(). */
const char *torch_archive_write(const zip_builder *z, hone_temp_dir *dir);

#endif
