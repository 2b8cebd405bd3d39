"""The session-guarantee checker: random histories of concurrent clients, and what is wrong with them.

Every register has one writer, which writes 1, 2, 3... into it; everybody reads everything. So a value says how old a read is.

    history     what happened: reads and writes with their times and outcomes
    rules       what may not happen: reads too old for their level, torn transactions, values nobody committed
    ledger      what PostgreSQL has booked, against what clients were told: lost writes, double ones
    statements  what clients say, and how it reads the registers or writes them
    programs    a client's program, from a seed: every form of commit, every kind of read
    account     what a client may conclude from the answers it gets
    wording     bursts of statements as messages
    clients     threads that run programs through rwsplit
    faults      what happens to the replicas meanwhile
    report      a violation with what surrounds it, to debug it by

The first three, `statements`, `programs` and `account` are pure: the same seed makes the same program, the same history the same
verdict.
"""
