/* The outbox table: what is visible, and what of it would survive a crash of the database. */

byte drawn;                      /* positions drawn from the sequence */
byte messageAt[MESSAGES];        /* by position */
byte open;                       /* rows that are committed and neither sent nor moved */
byte due;                        /* of these: visible_at has passed */
byte dead;                       /* of these: dead letters that hold back their key */
byte token[MESSAGES];            /* by position */

byte flushedDrawn, flushedOpen, flushedDead, flushedCommitted;
byte flushedToken[MESSAGES];

byte lockOfKey[KEYS + 1];        /* the writer that holds it, plus 1 */

/*
 * Tokens are only ever compared, so each is named after the batch that holds it. One that nobody holds
 * any more (its relay has died, its commit was not answered) can never match again: OLD.
 */
#define NONE 0
#define tokenOf(r) ((r) + 1)
#define OLD 7

/* Of each relay: one batch, from its claim to the last settlement. */
bool claiming[RELAYS];
byte atStart[RELAYS];           /* open rows in the snapshot of the claim */
byte wanted[RELAYS];             /* candidates that are not yet looked at */
byte locked[RELAYS];             /* rows that the claim has locked */
byte todo[RELAYS];               /* not yet published */
byte confirmed[RELAYS];          /* to be settled: sent */
byte returned[RELAYS];           /* to be settled: retry or release */
byte givenUp[RELAYS];            /* to be settled: dead, block-key */
byte taken[RELAYS];              /* what nobody there knows: rows that another claim took over */
#ifdef COUNT
byte ready[RELAYS];              /* the deadline has been looked at; the publish comes next */
bool late[RELAYS];               /* the time of the claim is over */
#define isReady(r) ready[r]
#else
#define isReady(r) 0
#endif
#ifdef FENCE_BEFORE_LOCK
byte fenced[RELAYS];             /* rows that a settle under way has found to be its own */
#endif
#ifdef CURSOR
byte cursor[RELAYS];
#endif

/* Of each writer: one transaction. */
byte rows[WRITERS];              /* inserted */
byte bornClaimed[WRITERS];
bool relaxed[WRITERS];           /* synchronous_commit = off */
#ifdef COUNT
bool tooLate[WRITERS];           /* the grace of what was born claimed is over */
#endif
#ifdef NEXTVAL_FIRST
byte early[WRITERS];             /* position drawn before the lock, plus 1 */
#endif
#ifdef STALE_CHECK
byte seen[WRITERS];              /* keys with open rows before the lock was granted */
bool asked[WRITERS];
#endif

#define keyAt(p) keyOf[messageAt[p]]
#define unsettled(r) (confirmed[r] | returned[r] | givenUp[r])
#define inHand(r) (todo[r] | isReady(r) | unsettled(r))
#define isFree(r) (!claiming[r] && inHand(r) == 0)

#if RELAYS > 2
#define lockedRows (locked[0] | locked[1] | locked[2])
#define allFree (isFree(0) && isFree(1) && isFree(2))
#elif RELAYS > 1
#define lockedRows (locked[0] | locked[1])
#define allFree (isFree(0) && isFree(1))
#else
#define lockedRows locked[0]
#define allFree isFree(0)
#endif

/* Relays that hold nothing are alike: the first of them goes on. */
#ifdef CURSOR
#define isFirstFree(r) isFree(r)
#else
#define isFirstFree(r) (isFree(r) && ((r) < 1 || !isFree(0)) && ((r) < 2 || !isFree(1)))
#endif

/* Everything committed so far is on the disk. What is on the disk matters only while a crash may come. */
inline flush() {
  if
  :: databaseCrashes > 0 ->
     flushedDrawn = drawn;
     flushedOpen = open;
     flushedDead = dead;
     flushedCommitted = committed;
     for (i : 0 .. MESSAGES - 1) { flushedToken[i] = token[i] }
  :: else
  fi
}

/* The batch is worked off: nobody holds its token any more. */
inline tidy(r) {
  if
  :: inHand(r) == 0 ->
     taken[r] = 0;
#ifdef COUNT
     late[r] = 0;
#endif
     for (i : 0 .. MESSAGES - 1) {
       token[i] = (token[i] == tokenOf(r) -> OLD : token[i]);
       flushedToken[i] = (flushedToken[i] == tokenOf(r) -> OLD : flushedToken[i])
     }
  :: else
  fi
}

inline excuseAll(set) {
#ifdef COUNT
  for (i : 0 .. MESSAGES - 1) {
    if
    :: has(set, i) -> excuse(messageAt[i])
    :: else
    fi
  }
#else
  skip
#endif
}
