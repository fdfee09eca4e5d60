/* What is told of evidence: in a source, in the overview, in the metrics. */
#include "hub/api/internal.h"
#include "shared/metrics.h"

void api_write_evidence(struct call *call, struct slice source, bool has_keys)
{
    struct trust_figures figures = trust_counts_of(call->hub->trust_counts, source);
    char advice[TRUST_ADVICE_BYTES];
    struct json_writer *w = &call->w;
    json_key(w, "evidence");
    json_open_object(w);
    json_key(w, "provenEvents");
    json_int(w, (int64_t)figures.proven);
    json_key(w, "claimedEvents");
    json_int(w, (int64_t)figures.claimed);
    json_key(w, "invalidProofs");
    json_open_object(w);
    for (unsigned fault = 0; fault < PROOF_FAULTS; fault++) {
        if (figures.invalid[fault] > 0) {
            json_key(w, proof_fault_name((enum proof_fault)fault));
            json_int(w, (int64_t)figures.invalid[fault]);
        }
    }
    json_close_object(w);
    if (trust_advice(&figures, has_keys, advice)) {
        json_key(w, "advice");
        json_cstr(w, advice);
    }
    json_close_object(w);
}

void api_put_evidence_metrics(struct hub *hub, struct buf *out)
{
    static const char proofs[] = "tributary_proofs_total";
    struct trust_figures figures = trust_counts_of_all(hub->trust_counts);
    figures.invalid[PROOF_VALID] = figures.proven;
    metrics_put_head(out, proofs, "counter", "Proofs that came with events, by what they are.");
    for (unsigned fault = 0; fault < PROOF_FAULTS; fault++) {
        metrics_put_sample(out, proofs, "result",
                           slice_text(proof_fault_name((enum proof_fault)fault)), NULL,
                           slice_text(""), (double)figures.invalid[fault]);
    }
    metrics_put(out, "tributary_claimed_events_total", "counter",
                "Events that name somebody whom nothing proves.", (double)figures.claimed);
}
