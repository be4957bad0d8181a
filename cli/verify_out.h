/* SPDX-License-Identifier: MIT */
/* The report of hone verify, as tables and as JSON. */
#ifndef HONE_CLI_VERIFY_OUT_H
#define HONE_CLI_VERIFY_OUT_H

#include <jansson.h>

#include "cli/args.h"
#include "hone/verify.h"

typedef struct hone_cli_verdict {
    const char *reference_path, *candidate_path;
    uint64_t reference_nbytes;
    double reference_bpw;
    hone_divergence divergence;
    hone_gate_result *gates;
    size_t n_gates;
    bool pass;             /* every gate */
    const hone_diff *diff; /* NULL: not compared tensor by tensor */
    json_t *chunk_klds;    /* NULL, or numbers; hone_cli_verdict_json() takes them over */
} hone_cli_verdict;

void hone_cli_verdict_print(const hone_cli_verdict *v);

/* hone_cli_verdict_json() has the fields that DESIGN promises. */
json_t *hone_cli_verdict_json(hone_cli_verdict *v);

#endif
