#include "shared/metrics.h"

#include "shared/version.h"

void metrics_put_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_put_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_put(struct buf *out, const char *name, const char *type, const char *help,
                 double value)
{
    metrics_put_head(out, name, type, help);
    buf_put_format(out, "%s %.17g\n", name, value);
}

static void put_label(struct buf *out, const char *name, struct slice value)
{
    buf_put_format(out, "%s=\"", name);
    for (size_t i = 0; i < value.len && i < 128; i++) {
        uint8_t c = value.data[i];
        if (c == '"' || c == '\\') {
            buf_put_u8(out, '\\');
        }
        buf_put_u8(out, c == '\n' ? ' ' : c);
    }
    buf_put_u8(out, '"');
}

void metrics_put_sample(struct buf *out, const char *name, const char *label_a,
                        struct slice value_a, const char *label_b, struct slice value_b,
                        double value)
{
    buf_put_format(out, "%s{", name);
    put_label(out, label_a, value_a);
    if (label_b != NULL) {
        buf_put_u8(out, ',');
        put_label(out, label_b, value_b);
    }
    buf_put_format(out, "} %.17g\n", value);
}

void metrics_put_build_info(struct buf *out)
{
    metrics_put_head(out, "tributary_build_info", "gauge", "Always 1; the label is the version.");
    metrics_put_sample(out, "tributary_build_info", "version", slice_text(TRIBUTARY_VERSION), NULL,
                       slice_text(""), 1);
}
