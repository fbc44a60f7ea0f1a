/* The claim: `claim` of statements.ts, in three kinds of step. */

/* The first row of a set. */
inline firstOf(set, result) {
  result = 0;
  do
  :: has(set, result) -> break
  :: else -> result++
  od
}

/* Every earlier row of the key of p that is in the set `all` is also in the set `among`. */
inline unbroken(p, all, among, result) {
  result = 1;
  for (j : 0 .. MESSAGES - 1) {
    if
    :: j < p && has(all, j) && keyAt(j) == keyAt(p) && keyAt(p) != 0 && !has(among, j) -> result = 0
    :: else
    fi
  }
}

/* The first open row of the key of p is due (p itself, if it has no key). */
inline headIsDue(p, result) {
  result = 1;
#ifndef NO_HEAD_TEST
  for (j : 0 .. MESSAGES - 1) {
    if
    :: j < p && result == 1 && has(open, j) && keyAt(j) == keyAt(p) && keyAt(p) != 0 -> result = (has(due, j) -> 2 : 0)
    :: else
    fi
  }
#endif
}

/* The rows that a claim would look at: due at position `from` or later, the first of the key due. */
inline candidates(from, result) {
  result = 0;
  for (i : 0 .. MESSAGES - 1) {
    if
    :: i >= from && has(open & due, i) ->
       headIsDue(i, found);
       if
       :: found != 0 -> result = result | BIT(i)
       :: else
       fi
    :: else
    fi
  }
  found = 0;
  j = 0
}

inline beginClaim(r, from) {
  candidates(from, wanted[r]);
  if
  :: wanted[r] != 0 -> claiming[r] = 1; atStart[r] = open
  :: else
  fi
}

/* FOR UPDATE SKIP LOCKED, row by row: locked by another, gone, or no longer due in its newest version: passed over. */
inline lockNext(r) {
  firstOf(wanted[r], i);
  wanted[r] = wanted[r] & ~BIT(i);
  if
  :: has(open & due, i) && !has(lockedRows, i) -> locked[r] = locked[r] | BIT(i)
  :: else
  fi;
  if
  :: count(locked[r]) == BATCH -> wanted[r] = 0
  :: else
  fi
}

/* The gap test on the snapshot of the statement, the update, the commit. */
inline endClaim(r) {
  todo[r] = 0;
  for (i : 0 .. MESSAGES - 1) {
    if
    :: has(locked[r], i) ->
#ifdef NO_GAP_TEST
       found = 1;
#else
       unbroken(i, atStart[r], locked[r], found);
#endif
       if
       :: found -> todo[r] = todo[r] | BIT(i)
       :: else
       fi
    :: else
    fi
  }
  if
  :: todo[r] != 0 ->
     for (i : 0 .. MESSAGES - 1) {
       if
       :: has(todo[r], i) -> token[i] = tokenOf(r)
#ifdef CURSOR
          ; cursor[r] = i + 1
#endif
       :: else
       fi
     }
     for (i : 0 .. RELAYS - 1) {
       if
       :: i != r -> taken[i] = taken[i] | (inHand(i) & todo[r])
       :: else
       fi
     }
     due = due & ~todo[r];
#ifndef CLAIM_RELAXED
     flush()
#endif
  :: else
  fi;
  claiming[r] = 0; atStart[r] = 0; locked[r] = 0;
  j = 0; found = 0
}
