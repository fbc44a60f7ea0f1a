/* Time, the broker's late frames, the log writer, crashes of the database, and the judge. */

/* A claim, a grace or a delay ends. With COUNT all rows of one claim end together, and its relay can know. */
inline expire(p) {
#ifdef COUNT
  if
  :: token[p] == NONE || token[p] == OLD -> due = due | BIT(p)
  :: else ->
     found = token[p];
     for (i : 0 .. MESSAGES - 1) {
       if
       :: has(open, i) && token[i] == found -> due = due | BIT(i)
       :: else
       fi
     }
     found = found - 1;
     if
     :: (ready[found] | confirmed[found]) != 0 -> losses--; excuseAll(ready[found] | confirmed[found])
     :: else
     fi;
     late[found] = 1
  fi;
  found = 0
#else
  due = due | BIT(p)
#endif
}

/* Its relay stands between the look at the deadline and the settle. */
#define inWindow(r, p) (token[p] == tokenOf(r) && (ready[r] | confirmed[r]) != 0)
#ifndef COUNT
#define mayExpire(p) 1
#elif RELAYS > 1
#define mayExpire(p) (losses > 0 || !(inWindow(0, p) || inWindow(1, p)))
#else
#define mayExpire(p) (losses > 0 || !inWindow(0, p))
#endif

#define ROW_EXPIRES(p) :: d_step { has(open & ~due & ~dead, p) && mayExpire(p) -> expire(p) }
#ifdef COUNT
#define GRACE_ENDS(w) :: d_step { bornClaimed[w] != 0 && !tooLate[w] -> tooLate[w] = 1 }
#else
#define GRACE_ENDS(w)
#endif
#define ARRIVES(m) :: d_step { has(travelling, m) -> travelling = travelling & ~BIT(m); accept(m) }

#define otherToken(p) (flushedToken[p] != token[p])
#if MESSAGES > 3
#define otherTokens (otherToken(0) || otherToken(1) || otherToken(2) || otherToken(3))
#elif MESSAGES > 2
#define otherTokens (otherToken(0) || otherToken(1) || otherToken(2))
#else
#define otherTokens (otherToken(0) || otherToken(1))
#endif
#define unflushed (flushedOpen != open || flushedDrawn != drawn || flushedDead != dead || flushedCommitted != committed || otherTokens)

/* Everything that was not flushed is gone, and every open transaction. Those who wait for an answer hear of it. */
inline crashDatabase() {
  databaseCrashes--;
  phantom = (published & committed & ~flushedCommitted) != 0;
  assert(!phantom);                               /* P1 */
  committed = flushedCommitted;
  for (i : 0 .. MESSAGES - 1) {
    if
    :: token[i] != flushedToken[i] || (has(flushedOpen, i) && !has(open, i)) -> due = due & ~BIT(i)
    :: else
    fi;
    token[i] = flushedToken[i];
    flushedToken[i] = 0
  }
  open = flushedOpen;
  due = due & open;
  dead = flushedDead;
  drawn = flushedDrawn;
  flushedOpen = 0; flushedDead = 0; flushedDrawn = 0; flushedCommitted = 0;
  for (i : 0 .. RELAYS - 1) {
    claiming[i] = 0; atStart[i] = 0; wanted[i] = 0; locked[i] = 0
#ifdef FENCE_BEFORE_LOCK
    ; fenced[i] = 0
#endif
  }
  endTransaction(0);
#if WRITERS > 1
  endTransaction(1)
#endif
}

#if WRITERS > 1
#define allWritten (written == MESSAGES && rows[0] == 0 && rows[1] == 0)
#else
#define allWritten (written == MESSAGES && rows[0] == 0)
#endif
#define quiet (allWritten && allFree && (open & ~due & ~dead) == 0)

/* The first rows of a set, as many as one claim may have. */
inline window(set, result) {
  result = 0;
  for (i : 0 .. MESSAGES - 1) {
    if
    :: has(set, i) && count(result) < BATCH -> result = result | BIT(i)
    :: else
    fi
  }
}

/* Whether a full scan finds something of `among` (or, with CURSOR, the only scan there is). */
inline canClaim(from, result) {
  candidates(from, looking);
  window(looking, looked);
  result = 0;
  for (i : 0 .. MESSAGES - 1) {
    if
    :: has(looked, i) ->
       unbroken(i, open, looked, found);
       if
       :: found -> result = 1
       :: else
       fi
    :: else
    fi
  }
  looking = 0;
  looked = 0;
  found = 0;
  j = 0
}

/* Nobody holds anything and all is due: what is open can be claimed, or waits behind a dead letter of its key. */
inline judge() {
  waiting = 0;
  for (i : 0 .. MESSAGES - 1) {
    unbroken(i, dead, 0, found);
    if
    :: has(open & ~dead, i) && found -> waiting = waiting | BIT(i)
    :: else
    fi
  }
#ifdef CURSOR
  canClaim(cursor[0], able);
#if RELAYS > 1
  canClaim(cursor[1], j);
  able = able | j;
#endif
#else
  canClaim(0, able);
#endif
  stuck = waiting != 0 && !able;
  assert(!stuck);                                 /* P2 */
  lost = open == 0 && (committed & ~published) != 0;
  assert(!lost);                                  /* P2 */
  waiting = 0;
  able = 0;
  j = 0
}

active proctype World() {
end:
  do
  ROW_EXPIRES(0)
  ROW_EXPIRES(1)
  ARRIVES(0)
  ARRIVES(1)
#if MESSAGES > 2
  ROW_EXPIRES(2)
  ARRIVES(2)
#endif
#if MESSAGES > 3
  ROW_EXPIRES(3)
  ARRIVES(3)
#endif
  GRACE_ENDS(0)
#if WRITERS > 1
  GRACE_ENDS(1)
#endif
  :: d_step { databaseCrashes > 0 && unflushed -> flush() }
  :: d_step { databaseCrashes > 0 -> crashDatabase() }
  :: d_step { quiet -> judge() }
  od
}
