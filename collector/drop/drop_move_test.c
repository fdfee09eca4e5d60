#include "collector/drop/drop_move.h"

#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "shared/file.h"

enum { TILL_USER = 61234, TILL_GROUP = 61235 };

struct fixture {
    char dir[64];
    mode_t umask_before;
    struct drop_folders folders;
    struct error err;
};

/* A drop folder as the README makes it, and the umask of the service. */
static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/tributary-move-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(chmod(f->dir, 0770), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(f->dir, (uid_t)-1, TILL_GROUP), 0);
    }
    f->umask_before = umask(0077);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];
    drop_folders_close(&f->folders);
    umask(f->umask_before);
    snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static struct stat status_of(const struct fixture *f, const char *name)
{
    struct stat status;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    assert_int_equal(stat(path, &status), 0);
    return status;
}

static void open_folders(struct fixture *f)
{
    if (!drop_folders_open(f->dir, &f->folders, &f->err)) {
        fail_msg("%s", f->err.message);
    }
}

static void reject(struct fixture *f)
{
    struct stat status;
    bool moved;
    assert_true(file_replace(f->folders.folder, "a.csv", 0640, slice_text("x"), &f->err));
    status = status_of(f, "a.csv");
    assert_true(drop_move_rejected(&f->folders, "a.csv", drop_identity_of(&status),
                                   slice_text("line 1"), &moved, &f->err));
    assert_true(moved);
}

static void test_what_is_made_has_the_rights_and_the_group_of_the_folder(void **state)
{
    struct fixture *f = *state;
    open_folders(f);
    reject(f);
    gid_t group = status_of(f, ".").st_gid;
    assert_int_equal(status_of(f, "done").st_mode & 0777, 0770);
    assert_int_equal(status_of(f, "rejected").st_mode & 0777, 0770);
    assert_int_equal(status_of(f, "rejected/a.csv.report").st_mode & 0777, 0660);
    assert_int_equal(status_of(f, "done").st_gid, group);
    assert_int_equal(status_of(f, "rejected").st_gid, group);
    assert_int_equal(status_of(f, "rejected/a.csv.report").st_gid, group);
    assert_int_equal(status_of(f, "rejected/a.csv").st_mode & 0777, 0640); /* the till's own */
}

static void test_a_folder_for_the_collector_alone_stays_so(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(chmod(f->dir, 0700), 0);
    open_folders(f);
    reject(f);
    assert_int_equal(status_of(f, "rejected").st_mode & 0777, 0700);
    assert_int_equal(status_of(f, "rejected/a.csv.report").st_mode & 0777, 0600);
}

static void test_folders_of_an_earlier_version_are_opened_and_others_left_alone(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/rejected", f->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/done", f->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0750), 0); /* somebody wants it so */
    open_folders(f);
    assert_int_equal(status_of(f, "rejected").st_mode & 0777, 0770);
    assert_int_equal(status_of(f, "done").st_mode & 0777, 0750);
}

/* As the till's user: reads the report and moves the file back to be taken again. */
static void be_the_till(const struct fixture *f)
{
    char from[128];
    char to[128];
    char text[16] = "";
    gid_t groups[] = {TILL_GROUP};
    snprintf(from, sizeof from, "%s/rejected/a.csv.report", f->dir);
    if (setgroups(1, groups) != 0 || setgid(TILL_USER) != 0 || setuid(TILL_USER) != 0) {
        _exit(1);
    }
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) != 6 || strcmp(text, "line 1") != 0) {
        _exit(2);
    }
    snprintf(from, sizeof from, "%s/rejected/a.csv", f->dir);
    snprintf(to, sizeof to, "%s/a.csv", f->dir);
    _exit(rename(from, to) == 0 ? 0 : 3);
}

static void test_the_tills_user_reads_the_report_and_moves_the_file_back(void **state)
{
    struct fixture *f = *state;
    int status = -1;
    if (geteuid() != 0) {
        print_message("skipped: only root can become another user\n");
        skip();
    }
    open_folders(f);
    reject(f);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        be_the_till(f);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_what_is_made_has_the_rights_and_the_group_of_the_folder),
        WITH(test_a_folder_for_the_collector_alone_stays_so),
        WITH(test_folders_of_an_earlier_version_are_opened_and_others_left_alone),
        WITH(test_the_tills_user_reads_the_report_and_moves_the_file_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
