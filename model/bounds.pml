/* What a configuration may set with -D. `configurations.ts` says which ones are run. */

#ifndef MESSAGES
#define MESSAGES 3          /* messages that the writers send altogether, rolled back ones included; at most 4 */
#endif
#ifndef KEYS
#define KEYS 2              /* partition keys 1..KEYS, at most 2 */
#endif
#ifndef RELAYS
#define RELAYS 2            /* batches in hand at one time: of one relay, or of several; at most 3 */
#endif
#ifndef WRITERS
#define WRITERS 2           /* transactions at one time; at most 2 */
#endif
#ifndef BATCH
#define BATCH 2             /* most rows of one claim */
#endif
#ifndef FAULTS
#define FAULTS 1            /* crashes of a relay, lost answers of a claim or a settle, settlements given up */
#endif
#ifndef DATABASE_CRASHES
#define DATABASE_CRASHES 1
#endif

/*
 * Without COUNT there is no time: a claim ends whenever it likes, publishes heed no deadline, answers are lost
 * as often as they like. That is more than the code can do, and what holds here needs neither clock nor luck.
 * With COUNT there are deadlines, and every copy is counted against the faults that hit its message.
 */
#ifndef LOSSES
#define LOSSES 1            /* with COUNT: claims that end between a publish and its settle */
#endif
#ifndef UNKNOWNS
#define UNKNOWNS 1          /* with COUNT: publishes without an answer */
#endif

/* Sets of rows (by position) and of messages (by number) are bit masks. */
#define BIT(n) (1 << (n))
#define has(set, n) (((set) >> (n)) & 1)
#define upTo(n) (BIT(n) - 1)
#define count(set) (has(set, 0) + has(set, 1) + has(set, 2) + has(set, 3))
