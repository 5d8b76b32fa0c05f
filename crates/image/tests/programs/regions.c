/* A process with mappings of every kind: it says where they are, and waits.
 *
 * Output: lines "NAME ADDRESS SIZE", the pid of a copy as the address of "copy", then "ready". Arguments: a file to map, of two pages at least; a library
 * of which to map a copy that is inside of another file, or nothing.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

enum { PAGE = 4096, READ_WRITE = PROT_READ | PROT_WRITE, OWN = MAP_PRIVATE | MAP_ANONYMOUS };

static void say(const char *name, const void *at, size_t size)
{
    if (at != MAP_FAILED)
        printf("%s %p %zu\n", name, at, size);
}

static void reservations(void)
{
    const size_t size = 64UL << 30;
    char *at = mmap(NULL, size, READ_WRITE, OWN | MAP_NORESERVE, -1, 0);
    madvise(at, size, MADV_NOHUGEPAGE);
    strcpy(at + PAGE, "second page");
    strcpy(at + (1UL << 30), "a gigabyte on");
    strcpy(at + size - PAGE, "last page");
    say("reservation", at, size);

    char *none = mmap(NULL, 1 << 20, PROT_NONE, OWN | MAP_NORESERVE, -1, 0);
    say("none", none, 1 << 20);

    char *guarded = mmap(NULL, 4 * PAGE, READ_WRITE, OWN, -1, 0);
    memset(guarded, 'g', 4 * PAGE);
    if (madvise(guarded + PAGE, PAGE, MADV_GUARD_INSTALL) == 0)
        say("guarded", guarded, 4 * PAGE);

    char *named = mmap(NULL, PAGE, READ_WRITE, OWN, -1, 0);
    strcpy(named, "named");
    prctl(PR_SET_VMA, 0, named, PAGE, "a name");
    say("named", named, PAGE);

    char *huge = mmap(NULL, 4UL << 20, READ_WRITE, OWN | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
    say("huge", huge, 4UL << 20);
}

/* Whoever touches it waits for somebody to hand in a page, which nobody does. */
static void served(void)
{
    int handler = syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    char *at = mmap(NULL, PAGE, READ_WRITE, OWN, -1, 0);
    struct uffdio_register all = {
        .range = {.start = (unsigned long)at, .len = PAGE},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    if (handler >= 0 && ioctl(handler, UFFDIO_API, &api) == 0 &&
        ioctl(handler, UFFDIO_REGISTER, &all) == 0)
        say("served", at, PAGE);
}

static void devices(void)
{
    int zero = open("/dev/zero", O_RDWR);
    char *own = mmap(NULL, PAGE, READ_WRITE, MAP_PRIVATE, zero, 0);
    strcpy(own, "of zero");
    say("zero", own, PAGE);
    char *shared = mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, zero, 0);
    strcpy(shared, "shared zero");
    say("shared", shared, PAGE);

    int memory = memfd_create("memory", 0);
    ftruncate(memory, 2 * PAGE);
    char *of_memory = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_PRIVATE, memory, 0);
    strcpy(of_memory, "of memory");
    say("memory", of_memory, 2 * PAGE);

    struct io_uring_params parameters = {0};
    int ring = syscall(SYS_io_uring_setup, 4, &parameters);
    if (ring >= 0)
        say("ring", mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING), PAGE);
}

static void files(const char *path, const char *library)
{
    int file = open(path, O_RDWR);
    char *written = mmap(NULL, 2 * PAGE, READ_WRITE, MAP_PRIVATE, file, 0);
    strcpy(written, "written here");
    say("written", written, 2 * PAGE);
    char *shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
    say("mapped", shared, PAGE);

    int cut = open("cut\nshort", O_RDWR | O_CREAT, 0600);
    ftruncate(cut, 3 * PAGE);
    char *of_cut = mmap(NULL, 3 * PAGE, READ_WRITE, MAP_PRIVATE, cut, 0);
    strcpy(of_cut, "cut");
    strcpy(of_cut + 2 * PAGE, "behind");
    ftruncate(cut, PAGE);
    say("cut", of_cut, 3 * PAGE);

    int archive = open(library, O_RDONLY);
    struct stat status;
    if (archive >= 0 && fstat(archive, &status) == 0) {
        /* As a loader does that knows archives: one page is before it. */
        char *at = mmap(NULL, status.st_size - PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, archive, PAGE);
        say("archive", at, status.st_size - PAGE);
    }
}

int main(int count, char **arguments)
{
    char order;

    if (count < 2)
        return 1;
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    reservations();
    served();
    devices();
    files(arguments[1], count > 2 ? arguments[2] : "");
    fflush(stdout);
    /* The copy ends with this process, and says so before anybody may end it. */
    int ends[2];
    if (pipe(ends) != 0)
        return 1;
    pid_t copy = fork();
    if (copy == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(0);
        close(1);
        close(2);
        write(ends[1], "c", 1);
        for (;;)
            pause();
    }
    read(ends[0], &order, 1);
    say("copy", (void *)(long)copy, 0);
    puts("ready");
    fflush(stdout);
    return (int)read(0, &order, 1);
}
