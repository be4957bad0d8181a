/* SPDX-License-Identifier: MIT */
/* The unpickler's machine: its state and its table of opcodes. Shared by pickle.c and pickle_ops.c only. */
#ifndef HONE_PICKLE_VM_H
#define HONE_PICKLE_VM_H

#include "base/cursor.h"
#include "formats/pickle.h"

struct pickle_vm {
    hone_pickle *p;
    hone_cursor c;
    const hone_pickle_dialect *dialect;
    hone_pickle_value **stack;
    size_t n_stack, cap_stack;
    size_t *marks; /* stack heights at the open MARKs */
    size_t n_marks, cap_marks;
    hone_pickle_value **memo; /* NULL: no such entry */
    size_t n_memo, cap_memo;
    bool stopped;
};

/* Executes one opcode. When it read past the end of the pickle (c.bad), its result does not count. */
typedef hone_status (*hone_pickle_op)(struct pickle_vm *vm, uint8_t opcode);

/* NULL: not handled. */
extern const hone_pickle_op hone_pickle_ops[256];

/* hone_pickle_refused_opcode() returns the name of an opcode that exists but is not handled; else NULL. Static. */
const char *hone_pickle_refused_opcode(uint8_t opcode);

#endif
