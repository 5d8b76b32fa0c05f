/* A process to make cores of: it fills memory of every kind, says where that is, and waits.
 *
 * Output: lines "NAME ADDRESS SIZE", then "ready". Input: 'a' aborts, 's' writes to address 0xdead000.
 * Arguments: a file to map; how much memory to map of which one page in 256 is touched.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef MADV_DONTDUMP
#define MADV_DONTDUMP 16
#endif

static const char constant[4096] = "constant of the file";
static char data[3 * 4096] = "data of the file";
static char zeros[3 * 4096];
static __thread char local[64] = "thread-local of the file";
static pthread_barrier_t started;
static volatile char spinning;

static void say(const char *name, const void *at, size_t size)
{
    printf("%s %p %zu\n", name, at, size);
}

static void fill(char *at, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1103515245 + 12345;
        at[i] = (char)(seed >> 16);
    }
}

static void *waits(void *unused)
{
    (void)unused;
    memcpy(local, "written by a thread", 20);
    pthread_barrier_wait(&started);
    for (;;)
        pause();
}

/* Registers that a test knows: xmm3 and r12, and the upper half of ymm3 where there is one. */
static void *spins(void *unused)
{
    static const unsigned char known[32] = "0123456789abcdefGHIJKLMNOPQRSTUV";
    (void)unused;
    pthread_barrier_wait(&started);
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vmovdqu (%0), %%ymm3\n"
                         "movabs $0x1122334455667788, %%r12\n"
                         "movb $1, (%1)\n"
                         "1: pause\n jmp 1b" ::"r"(known), "r"(&spinning)
                         : "r12", "memory");
    __asm__ volatile("movdqu (%0), %%xmm3\n"
                     "movabs $0x1122334455667788, %%r12\n"
                     "movb $1, (%1)\n"
                     "1: pause\n jmp 1b" ::"r"(known), "r"(&spinning)
                     : "r12", "memory");
    return NULL;
}

int main(int count, char **arguments)
{
    const struct rlimit whole = {RLIM_INFINITY, RLIM_INFINITY};
    pthread_t thread;
    char order;

    setrlimit(RLIMIT_CORE, &whole);
    /* gcore is no parent of it. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    fill(data + 4096, 4096, 1);
    fill(zeros + 4096, 4096, 2);
    say("constant", constant, sizeof constant);
    say("data", data, sizeof data);
    say("zeros", zeros, sizeof zeros);
    say("local", local, sizeof local);

    char *heap = malloc(300000);
    fill(heap, 300000, 3);
    say("heap", heap, 300000);

    const int anonymous = MAP_ANONYMOUS | MAP_PRIVATE;
    const int both = PROT_READ | PROT_WRITE;
    char *own = mmap(NULL, 1 << 16, both, anonymous, -1, 0);
    fill(own, 1 << 16, 4);
    say("own", own, 1 << 16);
    char *shared = mmap(NULL, 1 << 16, both, MAP_ANONYMOUS | MAP_SHARED, -1, 0);
    fill(shared, 1 << 16, 5);
    say("shared", shared, 1 << 16);
    char *hidden = mmap(NULL, 1 << 16, both, anonymous, -1, 0);
    fill(hidden, 1 << 16, 6);
    madvise(hidden, 1 << 16, MADV_DONTDUMP);
    say("hidden", hidden, 1 << 16);
    char *none = mmap(NULL, 1 << 20, PROT_NONE, anonymous | MAP_NORESERVE, -1, 0);
    say("none", none, 1 << 20);

    if (count > 1) {
        int file = open(arguments[1], O_RDONLY);
        char *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
        say("mapped", mapped, 4096);
    }
    if (count > 2) {
        size_t size = strtoull(arguments[2], NULL, 0);
        char *sparse = mmap(NULL, size, both, anonymous | MAP_NORESERVE, -1, 0);
        madvise(sparse, size, MADV_NOHUGEPAGE);
        for (size_t at = 0; at < size; at += 1 << 20)
            *(size_t *)(sparse + at) = at + 1;
        say("sparse", sparse, size);
    }
    pthread_barrier_init(&started, NULL, 3);
    pthread_create(&thread, NULL, waits, NULL);
    pthread_create(&thread, NULL, spins, NULL);
    pthread_barrier_wait(&started);
    while (!spinning)
        sched_yield();
    puts("ready");
    fflush(stdout);
    if (read(0, &order, 1) == 1 && order == 's')
        *(volatile char *)0xdead000 = 1;
    abort();
}
