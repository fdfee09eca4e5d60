#include "hub/cli/replay_progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include "hub/cli/render.h"
#include "shared/clock.h"

enum { BAR_CELLS = 30 };
static const int64_t second_ns = 1000000000;

void replay_progress_init(struct replay_progress *progress)
{
    *progress = (struct replay_progress){
        .is_terminal = isatty(STDERR_FILENO) == 1,
        .started_ns = clock_monotonic_ns(&clock_real),
    };
    progress->shown_ns = progress->started_ns;
}

double replay_progress_seconds(const struct replay_progress *progress)
{
    return (double)(clock_monotonic_ns(&clock_real) - progress->started_ns) / (double)second_ns;
}

static void put_figures(const struct replay_progress *progress,
                        const struct replay_figures *figures, struct buf *line)
{
    double seconds = replay_progress_seconds(progress);
    render_number(line, (int64_t)figures->events);
    buf_put_format(line, " events");
    if (figures->bytes_total > 0) {
        buf_put_format(line, ", %d%%", (int)(100 * figures->bytes / figures->bytes_total));
    }
    buf_put_format(line, ", ");
    render_number(line, seconds > 0 ? (int64_t)((double)figures->events / seconds) : 0);
    buf_put_format(line, "/s, ");
    render_number(line, (int64_t)figures->rejected);
    buf_put_format(line, " rejected");
}

static void put_bar(const struct replay_figures *figures, struct buf *line)
{
    int filled = (int)(BAR_CELLS * figures->bytes / figures->bytes_total);
    buf_put_u8(line, '[');
    for (int i = 0; i < BAR_CELLS; i++) {
        buf_put_u8(line, i < filled ? '#' : '.');
    }
    buf_put_format(line, "] ");
}

void replay_progress_show(struct replay_progress *progress, const struct replay_figures *figures)
{
    struct buf line;
    int64_t now = clock_monotonic_ns(&clock_real);
    if (now - progress->shown_ns < (progress->is_terminal ? second_ns / 10 : second_ns)) {
        return;
    }
    progress->shown_ns = now;
    buf_init(&line, 1024);
    if (progress->is_terminal) {
        buf_put_u8(&line, '\r');
        if (figures->bytes_total > 0) {
            put_bar(figures, &line);
        }
    }
    put_figures(progress, figures, &line);
    /* What is left of a longer line goes. */
    buf_put_format(&line, "%s", progress->is_terminal ? "\033[K" : "\n");
    fwrite(line.data, 1, line.len, stderr);
    fflush(stderr);
    progress->is_shown = progress->is_terminal;
    buf_done(&line);
}

void replay_progress_clear(struct replay_progress *progress)
{
    if (progress->is_shown) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        progress->is_shown = false;
    }
}

void replay_progress_say(struct replay_progress *progress, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    replay_progress_clear(progress);
    render_print(stderr, slice_text(text));
    fputc('\n', stderr);
}
