/* A library of one function. */
int answer(void);

int answer(void)
{
    return 42;
}
