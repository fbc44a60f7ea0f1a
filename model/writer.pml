/* A writer: transactions of one or two messages, one after the other. */

#if defined(EXPRESS_PAST_OPEN)
#define blocking(w) 0
#elif defined(STALE_CHECK)
#define blocking(w) (rows[w] & ~bornClaimed[w])
#else
#define blocking(w) (open | (rows[w] & ~bornClaimed[w]))
#endif

/* Locks the key, looks whether it has open rows, draws the position, inserts: `outbox_save`. */
inline save(w, key, express) {
#ifndef NO_KEY_LOCK
  lockOfKey[key] = (key != 0 -> w + 1 : 0);
#endif
#ifdef NEXTVAL_FIRST
  found = early[w] - 1;
  early[w] = 0;
#else
  found = drawn;
  drawn++;
#endif
  messageAt[found] = written;
  keyOf[written] = key;
  able = express;
  /* Born free if the key has an open row, or one of this transaction that is not born claimed. */
  for (i : 0 .. MESSAGES - 1) {
    if
    :: key != 0 && i != found && keyAt(i) == key && has(blocking(w), i) -> able = 0
    :: else
    fi
  }
#ifdef STALE_CHECK
  if
  :: key != 0 && has(seen[w], key) -> able = 0
  :: else
  fi;
#endif
  rows[w] = rows[w] | BIT(found);
  if
  :: able -> bornClaimed[w] = bornClaimed[w] | BIT(found)
  :: else
  fi;
  written++;
  able = 0;
  found = 0
}

inline endTransaction(w) {
  for (i : 0 .. KEYS) {
    if
    :: lockOfKey[i] == w + 1 -> lockOfKey[i] = 0
    :: else
    fi
  }
  rows[w] = 0; bornClaimed[w] = 0; relaxed[w] = 0;
#ifdef COUNT
  tooLate[w] = 0;
#endif
#ifdef NEXTVAL_FIRST
  early[w] = 0;
#endif
#ifdef STALE_CHECK
  seen[w] = 0; asked[w] = 0;
#endif
  skip
}

#ifdef COUNT
#define graceIsOver(w) tooLate[w]
#else
#define graceIsOver(w) 0
#endif

/* The rows become visible. The order of commits of one key is that of these steps, and of positions within one. */
inline commit(w, express) {
  for (i : 0 .. MESSAGES - 1) {
    if
    :: has(rows[w], i) ->
       token[i] = (has(bornClaimed[w], i) -> express : NONE);
       found = messageAt[i];
       for (j : 0 .. MESSAGES - 1) {
         if
         :: j != found && has(committed & ~published, j) && keyOf[j] == keyOf[found] && keyOf[j] != 0 -> earlier[found] = earlier[found] | BIT(j)
         :: else
         fi
       }
       committed = committed | BIT(found)
    :: else
    fi
  }
  open = open | rows[w];
#ifdef NO_GRACE
  due = due | rows[w];
#else
  due = due | (graceIsOver(w) -> rows[w] : rows[w] & ~bornClaimed[w]);
#endif
  if
  :: !relaxed[w] -> flush()
  :: else
  fi;
  found = 0;
  j = 0
}

/* The process that committed gives its rows to its relay, from memory. */
inline handOver(w, r) {
  todo[r] = bornClaimed[w];
#ifdef COUNT
  late[r] = tooLate[w];
#endif
  skip
}

#define begun(w) (rows[w] != 0)
#define lockIsFree(w, key) ((key) == 0 || lockOfKey[key] == 0 || lockOfKey[key] == w + 1)
#ifdef EXPRESS_RELAXED
#define mayBeExpress(w) 1
#else
#define mayBeExpress(w) (!relaxed[w])
#endif
#ifdef NEXTVAL_FIRST
#define mayBegin(w) (early[w] != 0)
#define maySendTwo 0
#elif defined(STALE_CHECK)
#define mayBegin(w) asked[w]
#define maySendTwo 0
#else
/* Writers without a transaction are alike, too. */
#define mayBegin(w) (w == 0 || begun(0))
#define maySendTwo 1
#endif

/* Keys are alike: the first message has key 1 (or none), the next ones may have the other. */
#define canBegin(w, key) (!begun(w) && mayBegin(w) && written < MESSAGES && lockIsFree(w, key) && (key <= 1 || written > 0))
#define canAdd(w, key) (begun(w) && count(rows[w]) == 1 && maySendTwo && written < MESSAGES && lockIsFree(w, key))
#define SEND(key) \
  :: d_step { canBegin(w, key) -> save(w, key, 0) } \
  :: d_step { canBegin(w, key) -> save(w, key, 1) } \
  :: d_step { canBegin(w, key) && databaseCrashes > 0 -> relaxed[w] = 1; save(w, key, mayBeExpress(w)) } \
  :: d_step { canAdd(w, key) -> save(w, key, 0) } \
  :: d_step { canAdd(w, key) && mayBeExpress(w) -> save(w, key, 1) }
#define HAND_OVER(r) \
  :: d_step { begun(w) && bornClaimed[w] != 0 && isFirstFree(r) -> commit(w, tokenOf(r)); handOver(w, r); endTransaction(w) }

active [WRITERS] proctype Writer() {
  byte w = _pid;
end:
  do
#ifdef NEXTVAL_FIRST
  :: d_step { !begun(w) && early[w] == 0 && drawn < MESSAGES -> drawn++; early[w] = drawn }
#endif
#ifdef STALE_CHECK
  :: d_step { !begun(w) && !asked[w] && written < MESSAGES -> asked[w] = 1;
     for (i : 0 .. MESSAGES - 1) {
       if
       :: has(open, i) -> seen[w] = seen[w] | BIT(keyAt(i))
       :: else
       fi
     }
     i = 0 }
#endif
#ifdef UNKEYED
  SEND(0)
#endif
  SEND(1)
#if KEYS > 1
  SEND(2)
#endif
  /* Committed without a hand-over: nothing was born claimed, the answer was lost, the relay had no room, the process died. */
  :: d_step { begun(w) -> commit(w, OLD); endTransaction(w) }
  /* Rolled back, or the process died. */
  :: d_step { begun(w) -> endTransaction(w) }
#ifdef EXPRESS_BEFORE_COMMIT
  :: d_step { begun(w) && bornClaimed[w] != 0 && isFirstFree(0) -> handOver(w, 0) }
#else
  HAND_OVER(0)
#if RELAYS > 1
  HAND_OVER(1)
#endif
#if RELAYS > 2
  HAND_OVER(2)
#endif
#endif
  od
}
