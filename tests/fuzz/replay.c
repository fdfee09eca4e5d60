/* Runs a fuzzer over every file of the corpus folders (or files) given, so that what was once found
 * stays fixed, also where there is no fuzzing engine. A crash is the failure; its input is named.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *current = "";

/* Only calls that a signal handler may make. */
static void name_the_input(int signal_number)
{
    static const char text[] = "stopped on the input ";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    written += write(STDERR_FILENO, current, strlen(current));
    written += write(STDERR_FILENO, "\n", 1);
    signal(signal_number, SIG_DFL);
    raise(written > 0 ? signal_number : SIGABRT);
}

static int replay_file(const char *path)
{
    current = path;
    FILE *file = fopen(path, "re");
    struct stat info;
    if (file == NULL || fstat(fileno(file), &info) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    /* As large as the file, so that a sanitizer sees each read past its end. */
    size_t size = (size_t)info.st_size;
    uint8_t *data = malloc(size == 0 ? 1 : size);
    bool whole = data != NULL && fread(data, 1, size, file) == size;
    fclose(file);
    if (whole) {
        LLVMFuzzerTestOneInput(data, size);
    } else {
        fprintf(stderr, "%s cannot be read\n", path);
    }
    free(data);
    return whole ? 0 : 1;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int replay_folder(const char *folder, int *count)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, is_visible, alphasort);
    int failed = n < 0;
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        free(entries[i]);
        failed |= replay_file(path);
        ++*count;
    }
    if (n < 0) {
        fprintf(stderr, "%s: %s\n", folder, strerror(errno));
    } else {
        free(entries);
    }
    return failed;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;
    signal(SIGABRT, name_the_input);
    for (int i = 1; i < argc; i++) {
        struct stat info;
        int count = 0;
        if (stat(argv[i], &info) == 0 && !S_ISDIR(info.st_mode)) {
            failed |= replay_file(argv[i]);
            count = 1;
        } else {
            failed |= replay_folder(argv[i], &count);
        }
        /* A corpus that is gone must not pass for one that is fine. */
        failed |= count == 0;
        printf("  FUZZ  %s: %d inputs\n", argv[i], count);
    }
    return failed;
}
