/* SPDX-License-Identifier: MIT */
#include "cli/plan_out.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/budget_out.h"
#include "cli/ingredients_out.h"
#include "cli/json_out.h"
#include "cli/quality_out.h"
#include "cli/report.h"
#include "cli/rotation_out.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/text_input.h"
#include "hone/verify.h"

static void print_plan(const hone_plan *plan, const hone_plan_totals *totals)
{
    const bool files = totals->n_tensors > 0 && hone_plan_tensor_at(plan, 0).file[0];
    hone_cli_table *t = hone_cli_table_new(files ? "<tensor|<type|<shape|>bytes|<file|>offset|<source|<transform|<why"
                                                 : "<tensor|<type|<shape|>bytes|>offset|<source|<transform|<why");
    for (size_t i = 0; i < totals->n_tensors; i++) {
        const hone_plan_tensor p = hone_plan_tensor_at(plan, i);
        char shape[HONE_CLI_SHAPE_LEN];
        hone_cli_table_cell(t, "%s", p.name);
        hone_cli_table_cell(t, "%s", hone_dtype_describe(p.dtype)->name);
        hone_cli_table_cell(t, "%s", hone_cli_shape(p.shape, p.n_dims, shape));
        hone_cli_table_cell(t, "%" PRIu64, p.nbytes);
        if (files)
            hone_cli_table_cell(t, "%s", p.file);
        hone_cli_table_cell(t, "%" PRIu64, p.offset);
        hone_cli_table_cell(t, "%s", p.source[0] ? p.source : "(computed)");
        hone_cli_table_cell(t, "%s", p.transform);
        hone_cli_table_cell(t, "%s", p.why);
    }
    hone_cli_table_print(t);
}

static void print_totals(const hone_plan_totals *totals, double seconds)
{
    char buf[HONE_CLI_SIZE_LEN];
    hone_cli_table *t = hone_cli_table_new("<|<");
    hone_cli_table_cell(t, "tensors");
    hone_cli_table_cell(t, "%zu", totals->n_tensors);
    hone_cli_table_cell(t, "input");
    hone_cli_table_cell(t, "%s (%" PRIu64 " bytes of tensors)", hone_cli_size(totals->input_nbytes, buf),
                        totals->input_nbytes);
    hone_cli_table_cell(t, "output");
    hone_cli_table_cell(t, "%s (%" PRIu64 " bytes)", hone_cli_size(totals->output_nbytes, buf), totals->output_nbytes);
    hone_cli_table_cell(t, "bits per weight");
    hone_cli_table_cell(t, "%.3f", totals->bpw);
    hone_cli_table_cell(t, "working memory");
    hone_cli_table_cell(t, "%s", hone_cli_size(totals->memory_nbytes, buf));
    if (totals->moments_nbytes) {
        hone_cli_table_cell(t, "  of it moments");
        hone_cli_table_cell(t, "%s", hone_cli_size(totals->moments_nbytes, buf));
    }
    if (totals->changes_nbytes) {
        hone_cli_table_cell(t, "  before it");
        hone_cli_table_cell(t, "%s, to fold or correct", hone_cli_size(totals->changes_nbytes, buf));
    }
    if (totals->weights_nbytes) {
        hone_cli_table_cell(t, "  of it weights");
        hone_cli_table_cell(t, "%s, those of a layer", hone_cli_size(totals->weights_nbytes, buf));
        hone_cli_table_cell(t, totals->streams_spilled ? "temporary file" : "  of it streams");
        hone_cli_table_cell(t, "%s", hone_cli_size(totals->streams_nbytes, buf));
    }
    if (seconds > 0) {
        hone_cli_table_cell(t, "time");
        hone_cli_table_cell(t, "about %s", hone_cli_duration(seconds, buf));
    }
    (void)putchar('\n');
    hone_cli_table_print(t);
}

static void print_result(const hone_cli_job *job, const hone_plan_totals *totals, double seconds)
{
    char buf[HONE_CLI_SIZE_LEN];
    hone_cli_table *t = hone_cli_table_new("<file|>size|>bits/weight|>seconds|>MB/s read");
    hone_cli_table_cell(t, "%s", job->out);
    hone_cli_table_cell(t, "%s", hone_cli_size(totals->output_nbytes, buf));
    hone_cli_table_cell(t, "%.3f", totals->bpw);
    hone_cli_table_cell(t, "%.2f", seconds);
    hone_cli_table_cell(t, "%.0f", seconds > 0 ? (double)totals->input_nbytes / seconds / 1e6 : 0);
    hone_cli_table_print(t);
}

/* What came of a job. */
struct outcome {
    double seconds;
    hone_tensor_error *errors; /* one for each tensor, or NULL */
    bool measured;
    hone_divergence divergence; /* of the file made for a budget, on the text that it was settled on */
};

/* What a budget is made from while it is in use. */
struct settling {
    hone_budget *budget; /* NULL: the job has none */
    hone_budget_options options;
    char *text, *journal;
};

static json_t *plan_json(const hone_cli_job *job, const hone_plan *plan, const hone_plan_totals *totals,
                         const struct outcome *outcome, const hone_rotation_choice *rotation)
{
    json_t *root = hone_cli_json_object();
    hone_cli_json_put(root, "output", job->out ? hone_cli_json_text(job->out) : json_null());
    hone_cli_json_put(root, "written", hone_cli_json_bool(!job->dry_run));
    hone_cli_json_put(root, "bytes", hone_cli_json_uint(totals->output_nbytes));
    hone_cli_json_put(root, "input_bytes", hone_cli_json_uint(totals->input_nbytes));
    hone_cli_json_put(root, "memory_bytes", hone_cli_json_uint(totals->memory_nbytes));
    if (totals->weights_nbytes) {
        hone_cli_json_put(root, "weights_bytes", hone_cli_json_uint(totals->weights_nbytes));
        hone_cli_json_put(root, "moments_bytes", hone_cli_json_uint(totals->moments_nbytes));
        if (totals->changes_nbytes)
            hone_cli_json_put(root, "changes_bytes", hone_cli_json_uint(totals->changes_nbytes));
        hone_cli_json_put(root, "streams_bytes", hone_cli_json_uint(totals->streams_nbytes));
        hone_cli_json_put(root, "streams_spilled", hone_cli_json_bool(totals->streams_spilled));
    }
    hone_cli_json_put(root, "bpw", hone_cli_json_real(totals->bpw));
    hone_cli_json_put(root, "seconds", hone_cli_json_real(outcome->seconds));
    json_t *tensors = hone_cli_json_array();
    for (size_t i = 0; i < totals->n_tensors; i++) {
        const hone_plan_tensor p = hone_plan_tensor_at(plan, i);
        json_t *o = hone_cli_json_object();
        hone_cli_json_put(o, "name", hone_cli_json_text(p.name));
        hone_cli_json_put(o, "type", hone_cli_json_text(hone_dtype_describe(p.dtype)->name));
        hone_cli_json_put(o, "shape", hone_cli_json_shape(p.shape, p.n_dims));
        hone_cli_json_put(o, "bytes", hone_cli_json_uint(p.nbytes));
        if (p.file[0])
            hone_cli_json_put(o, "file", hone_cli_json_text(p.file));
        hone_cli_json_put(o, "offset", hone_cli_json_uint(p.offset));
        hone_cli_json_put(o, "source", hone_cli_json_text(p.source));
        hone_cli_json_put(o, "transform", hone_cli_json_text(p.transform));
        hone_cli_json_put(o, "why", hone_cli_json_text(p.why));
        if (p.has_moments)
            hone_cli_json_put(o, "method", hone_cli_json_text(p.has_feedback ? "gptq" : "plain"));
        if (job->quality)
            hone_cli_put_tensor_quality(o, plan, i, outcome->errors);
        hone_cli_json_add(tensors, o);
    }
    hone_cli_json_put(root, "tensors", tensors);
    if (job->rotate)
        hone_cli_json_put(root, "rotation", hone_cli_rotation_json(job->rotate, rotation));
    if (job->convert.budget)
        hone_cli_json_put(root, "budget",
                          hone_cli_budget_json(job->convert.budget, outcome->measured ? &outcome->divergence : NULL));
    if (job->convert.fold)
        hone_cli_json_put(root, "fold", hone_cli_fold_json(job->convert.fold));
    if (job->convert.correction)
        hone_cli_json_put(root, "correction", hone_cli_correction_json(job->convert.correction));
    if (job->quality)
        hone_cli_put_quality(root, plan, job->convert.imatrix, outcome->errors);
    return root;
}

/* What was chosen, a line for each kind of tensor. */
static void print_ingredients(const hone_cli_job *job, const hone_plan *plan)
{
    if (job->convert.method == HONE_METHOD_AUTO) {
        (void)putchar('\n');
        hone_cli_print_methods(plan);
    }
    if (job->convert.fold) {
        (void)putchar('\n');
        hone_cli_print_fold(job->convert.fold);
    }
    if (job->convert.correction) {
        (void)putchar('\n');
        hone_cli_print_correction(job->convert.correction);
    }
}

static hone_status report(const hone_cli_globals *globals, const hone_cli_job *job, const hone_plan *plan,
                          const struct outcome *outcome, const hone_rotation_choice *rotation, hone_error *err)
{
    const hone_plan_totals totals = hone_plan_describe(plan);
    if (hone_cli_wants_text(globals) && job->dry_run) {
        print_plan(plan, &totals);
        print_totals(&totals, outcome->seconds);
    } else if (hone_cli_wants_text(globals)) {
        print_result(job, &totals, outcome->seconds);
        if (outcome->errors) {
            (void)putchar('\n');
            hone_cli_print_quality(plan, outcome->errors);
        }
    }
    if (hone_cli_wants_text(globals) && rotation->what) {
        (void)putchar('\n');
        hone_cli_print_rotation(rotation);
    }
    if (hone_cli_wants_text(globals) && job->convert.imatrix) {
        (void)putchar('\n');
        hone_cli_print_importance(plan, job->convert.imatrix);
    }
    if (hone_cli_wants_text(globals) && job->convert.budget) {
        (void)putchar('\n');
        hone_cli_print_budget(job->convert.budget, outcome->measured ? &outcome->divergence : NULL);
    }
    if (hone_cli_wants_text(globals))
        print_ingredients(job, plan);
    return globals->json ? hone_cli_json_write(globals, plan_json(job, plan, &totals, outcome, rotation), err)
                         : HONE_OK;
}

/* Settles the types where the job has a budget. What is measured is kept beside the output, which under dry_run would
 * be writing. */
static hone_status settle_budget(const hone_cli_session *s, const hone_cli_job *job, const hone_checkpoint *src,
                                 struct settling *b, hone_error *err)
{
    if (!job->budget)
        return HONE_OK;
    b->options = *job->budget;
    hone_status status = hone_cli_text_read(job->budget_texts, &b->text, &b->options.text_nbytes, err);
    if (status != HONE_OK)
        return status;
    /* What the recipe tells of them, which do not change the types. */
    enum { RESERVED_NBYTES = 256 };
    b->options.reserved_nbytes = RESERVED_NBYTES * ((job->sequential != NULL) + (uint64_t)job->convert.correct);
    b->options.text = b->text;
    b->options.restart = job->restart;
    if (!job->dry_run) {
        const size_t cap = strlen(job->out) + sizeof ".budget";
        b->journal = hone_cli_alloc(cap, 1);
        (void)snprintf(b->journal, cap, "%s.budget", job->out);
        b->options.journal = b->journal;
    }
    hone_convert_options convert = job->convert;
    if (!convert.calibration) /* before there are moments, tensors are measured without */
        convert.method = HONE_METHOD_PLAIN;
    return hone_budget_new(s->ctx, src, &convert, &b->options, &b->budget, err);
}

/* Makes the plan, for which the text of a sequential calibration is read. */
static hone_status make_plan(const hone_cli_session *s, const hone_cli_job *job, const hone_checkpoint *src,
                             hone_plan **plan, hone_error *err)
{
    if (!job->sequential)
        return hone_plan_new(s->ctx, src, &job->convert, plan, err);
    hone_calibration_text sequential = *job->sequential;
    char *text = NULL;
    hone_status status = hone_cli_text_read(job->sequential_texts, &text, &sequential.nbytes, err);
    sequential.text = text;
    hone_convert_options convert = job->convert;
    convert.sequential = &sequential;
    if (status == HONE_OK)
        status = hone_plan_new(s->ctx, src, &convert, plan, err);
    free(text);
    return status;
}

static void free_settling(struct settling *b)
{
    hone_budget_free(b->budget);
    free(b->journal);
    free(b->text);
}

/* What the prediction is worth: the file that was made, measured on the text that its types were settled on. */
static hone_status measure_file(const hone_cli_session *s, const hone_cli_job *job, const hone_checkpoint *src,
                                const struct settling *b, struct outcome *outcome, hone_error *err)
{
    hone_checkpoint *made = NULL;
    const hone_eval_options eval = hone_budget_eval(&b->options);
    hone_status status = hone_cli_open(s, job->out, &made, err);
    if (status == HONE_OK)
        status = hone_verify(s->ctx, src, made, b->text, b->options.text_nbytes, &eval, &outcome->divergence, err);
    outcome->measured = status == HONE_OK;
    hone_checkpoint_close(made);
    return status;
}

/* Folds the source where the job asks for it; *out is NULL where it does not. */
static hone_status fold_source(const hone_cli_session *s, const hone_cli_job *job, hone_checkpoint *src,
                               hone_fold **out, hone_error *err)
{
    *out = NULL;
    if (!job->fold)
        return HONE_OK;
    hone_convert_options options = job->convert;
    if (job->budget) /* which settles the types afterwards */
        options.type = "q4_k_m";
    return hone_fold_new(s->ctx, src, &options, out, err);
}

static hone_status correct(const hone_cli_session *s, const hone_cli_job *job, const hone_checkpoint *src,
                           hone_correction **out, hone_error *err)
{
    *out = NULL;
    return job->convert.correct ? hone_correction_new(s->ctx, src, &job->convert, out, err) : HONE_OK;
}

/* Plans, and runs the plan or not. */
static hone_status carry_out(const hone_cli_session *s, const hone_cli_job *job, const hone_checkpoint *src,
                             hone_plan **plan, struct outcome *outcome, hone_error *err)
{
    const double started = hone_cli_seconds();
    hone_status status = make_plan(s, job, src, plan, err);
    if (status == HONE_OK && job->dry_run)
        outcome->seconds = hone_plan_seconds(s->ctx, *plan);
    if (status != HONE_OK || job->dry_run)
        return status;
    if (job->quality)
        outcome->errors = hone_cli_alloc(hone_plan_describe(*plan).n_tensors, sizeof *outcome->errors);
    const hone_run_options run = {.overwrite = s->globals->force, .restart = job->restart, .errors = outcome->errors};
    status = hone_plan_run(s->ctx, *plan, job->out, &run, err);
    outcome->seconds = hone_cli_seconds() - started;
    return status;
}

int hone_cli_run_job(const hone_cli_globals *globals, const hone_cli_job *asked)
{
    hone_cli_session session;
    hone_checkpoint *src = NULL;
    struct settling settling = {.budget = NULL};
    hone_fold *fold = NULL;
    hone_correction *correction = NULL;
    hone_plan *plan = NULL;
    hone_rotation_choice rotation = {0};
    hone_cli_job job = *asked;
    hone_error err = HONE_CLI_NO_ERROR;
    hone_status status = hone_cli_session_open(&session, globals, &err);
    if (status == HONE_OK)
        status = hone_cli_json_check_target(globals, &err);
    /* Planning a large model only to refuse then would waste minutes. */
    const bool is_file = !job.convert.to || strcasecmp(job.convert.to, "gguf") == 0;
    if (status == HONE_OK && is_file && !job.dry_run)
        status = hone_output_check(job.out, globals->force, &err);
    if (status == HONE_OK)
        status = hone_cli_settle_rotation(&session, &job, &rotation, &err);
    if (status == HONE_OK)
        status = hone_cli_open_rotated(&session, job.src, job.rotate, &src, &err);
    if (status == HONE_OK)
        status = fold_source(&session, &job, src, &fold, &err);
    job.convert.fold = fold;
    if (status == HONE_OK)
        status = settle_budget(&session, &job, src, &settling, &err);
    job.convert.budget = settling.budget;
    if (status == HONE_OK)
        status = correct(&session, &job, src, &correction, &err);
    job.convert.correction = correction;
    struct outcome outcome = {0};
    if (status == HONE_OK)
        status = carry_out(&session, &job, src, &plan, &outcome, &err);
    if (status == HONE_OK && settling.budget && !job.dry_run)
        hone_budget_forget(settling.budget);
    if (status == HONE_OK && settling.budget && !job.dry_run && job.measure)
        status = measure_file(&session, &job, src, &settling, &outcome, &err);
    hone_cli_progress_erase(&session.progress);
    if (status == HONE_OK)
        status = report(globals, &job, plan, &outcome, &rotation, &err);
    free(outcome.errors);
    hone_plan_free(plan);
    free_settling(&settling);
    hone_fold_free(fold);
    hone_correction_free(correction);
    hone_checkpoint_close(src);
    hone_rotation_choice_deinit(&rotation);
    hone_cli_session_close(&session);
    return hone_cli_fail(status, &err);
}
