/* One batch of a relay: claim, publish, settle. Two of them are two relays, or one that reads ahead. */

/* The message of row p has left, and so has p from where it was. */
inline leave(r, p) {
#ifdef COUNT
  ready[r] = ready[r] & ~BIT(p)
#else
  todo[r] = todo[r] & ~BIT(p)
#endif
}

/*
 * Row p goes back, and the later rows of its key with it. GOES_ON: a broker that takes what a call has
 * sent behind a message that it has refused, in the order of the call.
 */
inline giveBack(r, p, queue) {
  leave(r, p);
#ifndef GOES_ON
  for (j : 0 .. MESSAGES - 1) {
    if
    :: j > p && has(todo[r], j) && keyAt(j) == keyAt(p) && keyAt(p) != 0 ->
       todo[r] = todo[r] & ~BIT(j);
       returned[r] = returned[r] | BIT(j)
    :: else
    fi
  }
#endif
  queue = queue | BIT(p);
  j = 0
}

#if defined(NO_TOKEN)
#define owns(r, p) 1
#elif defined(FENCE_BEFORE_LOCK)
#define owns(r, p) has(fenced[r], p)
#else
#define owns(r, p) (token[p] == tokenOf(r))
#endif

/* Changes the rows that are still ours when their locks are granted. What was answered goes in one transaction. */
inline settle(r) {
  for (i : 0 .. MESSAGES - 1) {
    if
    :: has(unsettled(r) & open, i) && owns(r, i) ->
       unfenced = has(taken[r], i);
#ifndef FENCE_IGNORED
       assert(!unfenced);                         /* P7 */
#endif
       token[i] = NONE;
       if
       :: has(confirmed[r], i) ->
          open = open & ~BIT(i);
          due = due & ~BIT(i);
          lost = !has(published, messageAt[i]);
          assert(!lost)                           /* P2 */
       :: has(returned[r], i) -> due = due & ~BIT(i)   /* until its delay is over, if it has one */
       :: else -> due = due & ~BIT(i); dead = dead | BIT(i)
       fi
    :: else
    fi
  }
#ifndef SETTLE_RELAXED
  flush();
#endif
  i = 0
}

inline settled(r) {
  confirmed[r] = 0; returned[r] = 0; givenUp[r] = 0;
#ifdef FENCE_BEFORE_LOCK
  fenced[r] = 0;
#endif
  tidy(r)
}

inline crash(r) {
  excuseAll(confirmed[r]);
  claiming[r] = 0; atStart[r] = 0; wanted[r] = 0; locked[r] = 0;
  todo[r] = 0; confirmed[r] = 0; returned[r] = 0; givenUp[r] = 0;
#ifdef COUNT
  ready[r] = 0;
#endif
#ifdef FENCE_BEFORE_LOCK
  fenced[r] = 0;
#endif
  tidy(r)
}

/* What may go out next: with a key only when nothing of the key before it is unconfirmed. */
#define ahead(r, p, q) (has(todo[r] | isReady(r), q) && keyAt(q) == keyAt(p))
#define behind(r, p) (keyAt(p) != 0 && ((p > 0 && ahead(r, p, 0)) || (p > 1 && ahead(r, p, 1)) || (p > 2 && ahead(r, p, 2))))
#ifdef SEVERAL_UNCONFIRMED
#define isNext(r, p) has(todo[r], p)
#else
#define isNext(r, p) (has(todo[r], p) && !behind(r, p))
#endif

#ifdef COUNT
#ifdef NO_DEADLINE
#define inTime(r) 1
#else
#define inTime(r) (!late[r])
#endif
/* The deadline is looked at, then the message leaves: a pause may fall in between. */
#define LOOK(p) :: d_step { isNext(r, p) && inTime(r) -> todo[r] = todo[r] & ~BIT(p); ready[r] = ready[r] | BIT(p) }
#define goes(r, p) has(ready[r], p)
#define staysSilent(p) (unknowns > 0)
#define noteSilence(p) unknowns--; excuse(messageAt[p])
#define mayTravel(p) (unknowns > 0 && !has(travelling, messageAt[p]))
#define mayGiveUp(r) late[r]
#else
#define LOOK(p)
#define goes(r, p) isNext(r, p)
#define staysSilent(p) 1
#define noteSilence(p) skip
#define mayTravel(p) (travelling == 0 && !has(published, messageAt[p]))
#define mayGiveUp(r) 1
#endif
#ifdef SILENCE_IS_CONFIRMED
#define SILENT_ROW(p) :: d_step { goes(r, p) -> leave(r, p); confirmed[r] = confirmed[r] | BIT(p) }
#else
#define SILENT_ROW(p)
#endif
#ifdef DEAD
#define DEAD_ROW(p) :: d_step { goes(r, p) -> giveBack(r, p, givenUp[r]) }
#else
#define DEAD_ROW(p)
#endif

#define ROW(p) \
  LOOK(p) \
  :: d_step { goes(r, p) -> accept(messageAt[p]); leave(r, p); confirmed[r] = confirmed[r] | BIT(p) } \
  /* Refused, unavailable, or nothing arrived and nobody answered. */ \
  :: d_step { goes(r, p) -> giveBack(r, p, returned[r]) } \
  /* Unknown: it arrived, and goes again under the same claim, or back. */ \
  :: d_step { goes(r, p) && staysSilent(p) -> noteSilence(p); accept(messageAt[p]); leave(r, p); todo[r] = todo[r] | BIT(p) } \
  :: d_step { goes(r, p) && staysSilent(p) -> noteSilence(p); accept(messageAt[p]); giveBack(r, p, returned[r]) } \
  /* Unknown: the frame travels, and may arrive at any later time. */ \
  :: d_step { goes(r, p) && mayTravel(p) -> noteSilence(p); travel(p); leave(r, p); todo[r] = todo[r] | BIT(p) } \
  :: d_step { goes(r, p) && mayTravel(p) -> noteSilence(p); travel(p); giveBack(r, p, returned[r]) } \
  SILENT_ROW(p) \
  DEAD_ROW(p)
#define travel(p) travelling = travelling | BIT(messageAt[p])

#ifdef CURSOR
#define CLAIM(from) :: d_step { from == 0 && isFirstFree(r) && (open & due) != 0 -> beginClaim(r, cursor[r]) }
#else
#define CLAIM(from) :: d_step { isFirstFree(r) && (open & due & ~upTo(from)) != 0 -> beginClaim(r, from) }
#endif

active [RELAYS] proctype Relay() {
  byte r = _pid - WRITERS;
end:
  do
  /* From any position: the cursor may stand anywhere. */
  CLAIM(0)
  CLAIM(1)
#if MESSAGES > 2
  CLAIM(2)
#endif
#if MESSAGES > 3
  CLAIM(3)
#endif
  :: d_step { claiming[r] && wanted[r] != 0 -> lockNext(r) }
  :: d_step { claiming[r] && wanted[r] == 0 -> endClaim(r); tidy(r) }
  /* The claim is committed, its answer is lost. */
  :: d_step { claiming[r] && wanted[r] == 0 && faults > 0 -> faults--; endClaim(r); crash(r) }

  ROW(0)
  ROW(1)
#if MESSAGES > 2
  ROW(2)
#endif
#if MESSAGES > 3
  ROW(3)
#endif
  /* Deadline, open breaker, stop: what has not left goes back. */
  :: d_step { todo[r] != 0 && isReady(r) == 0 -> returned[r] = returned[r] | todo[r]; todo[r] = 0 }

#ifdef FENCE_BEFORE_LOCK
  :: d_step { unsettled(r) != 0 && fenced[r] == 0 ->
     for (i : 0 .. MESSAGES - 1) {
       if
       :: has(unsettled(r) & open, i) && token[i] == tokenOf(r) -> fenced[r] = fenced[r] | BIT(i)
       :: else
       fi
     }
     i = 0 }
#endif
  :: d_step { unsettled(r) != 0 && (unsettled(r) & lockedRows) == 0 -> settle(r); settled(r) }
  /* Settled, the answer is lost: it will be repeated. */
  :: d_step { faults > 0 && unsettled(r) != 0 && (unsettled(r) & lockedRows) == 0 -> faults--; settle(r) }
  /* Settling failed until the claim was over. */
  :: d_step { faults > 0 && unsettled(r) != 0 && mayGiveUp(r) -> faults--; settled(r) }

  :: d_step { faults > 0 && (claiming[r] || inHand(r) != 0) -> faults--; crash(r) }
  od
}
