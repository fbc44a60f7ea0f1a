/* The world as somebody would describe it who sees everything, and the promises. */

byte written;                    /* messages sent so far; the number of the next one */
byte keyOf[MESSAGES];            /* 0: no key */
byte committed;                  /* messages whose transaction has committed, and has not been lost since */
byte earlier[MESSAGES];          /* unpublished messages of its key that were committed before it */
byte published;                  /* messages that the broker has accepted */
byte travelling;                 /* messages in a frame that may still reach the broker, or never */
byte faults = FAULTS;
byte databaseCrashes = DATABASE_CRASHES;
#ifdef COUNT
byte copies[MESSAGES];           /* how often the broker has accepted it */
byte excuses[MESSAGES];          /* faults that hit it between publish and settle */
byte losses = LOSSES;
byte unknowns = UNKNOWNS;
#endif

/* Broken promises. Each is asserted to be false where it is set. */
hidden byte phantom, inversion, duplicate, lost, stuck, unfenced;
/* Of one step each; no part of the state. */
hidden byte i, j, found, looking, looked, waiting, able;

#ifdef COUNT
#define excuse(message) excuses[message]++
#else
#define excuse(message) skip
#endif

/* The broker takes a message. */
inline accept(message) {
  phantom = !has(committed, message);
  assert(!phantom);                               /* P1 */
  inversion = (earlier[message] & committed) != 0;
  assert(!inversion);                             /* P5 */
  published = published | BIT(message);
  for (i : 0 .. MESSAGES - 1) { earlier[i] = earlier[i] & ~BIT(message) }
#ifdef COUNT
  copies[message]++;
  duplicate = copies[message] > 1 + excuses[message];
  assert(!duplicate)                              /* P6 */
#else
  travelling = travelling & ~BIT(message)         /* one more copy would change nothing */
#endif
}
