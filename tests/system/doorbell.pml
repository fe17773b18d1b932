/* The doorbell, DESIGN.md section 3. Writers insert (their xid is assigned), look at the flag, and commit or abort; a commit rings every
   gateway if the flag was down. Gateways read, raise the flag when busy, and go to sleep. The flag may expire at any moment.

   A snapshot names a writer as in progress only if a higher xid has ended (PostgreSQL: xmax is one past the highest xid that
   has ended, and what is not below it is not listed). Hence the line: an xid, assigned and ended after the flag was seen down.

   Claim: when nothing can move any more, every gateway has read every committed row. Each of these left out (=0) loses one:
   LINE           the line is drawn before the snapshot that is drained
   LATE           that snapshot is taken after the flag was seen down, not by the statement that saw it
   RING_ON_RAISE  raising the flag rings
   ATOMIC         raising sets the flag first and then looks whether the old time was still to come
   SAME           a flag that was raised meanwhile is another one: it is drained for again, and sleeps are not cut short by it */
#ifndef LINE
#define LINE 1
#endif
#ifndef LATE
#define LATE 1
#endif
#ifndef RING_ON_RAISE
#define RING_ON_RAISE 1
#endif
#ifndef ATOMIC
#define ATOMIC 1
#endif
#ifndef SAME
#define SAME 1
#endif
#ifndef RAISES
#define RAISES 2
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#define NW 2
#define NONE 99
byte w[NW];                /* 0 not begun, 1 in progress, 2 committed, 3 aborted */
byte place[NW];            /* the order of their xids */
byte next;
bool listed[NW];           /* a higher xid has ended */
bool flag;
byte value;                /* of the flag: another one whenever it is raised */
bool bell[2];
bool seen[4];              /* gateway * NW + writer */
bool P[4];                 /* who is waited for */
bool M[4];                 /* who is below the line */
byte raises;

inline ring_all() { bell[0] = true; bell[1] = true }
inline forget(g) { M[g*NW+0] = false; M[g*NW+1] = false; if :: LATE -> P[g*NW+0] = false; P[g*NW+1] = false :: else fi }
inline take(g) {
  if :: w[0] == 2 -> seen[g*NW+0] = true :: else fi;
  if :: w[1] == 2 -> seen[g*NW+1] = true :: else fi
}
inline in_progress(g) { P[g*NW+0] = (w[0] == 1 && listed[0]); P[g*NW+1] = (w[1] == 1 && listed[1]) }
inline end_of(i) {
  if :: w[0] == 1 && place[0] < place[i] -> listed[0] = true :: else fi;
  if :: w[1] == 1 && place[1] < place[i] -> listed[1] = true :: else fi
}

proctype Writer(byte i) {
  bool rings;
  d_step { w[i] = 1; place[i] = next; next++ }
  rings = !flag;
  if
  :: d_step { w[i] = 2; end_of(i); if :: rings -> ring_all() :: else fi }
  :: d_step { w[i] = 3; end_of(i) }
  fi
}
proctype Clock() { do :: flag -> flag = false od }
proctype Gateway(byte g) {
  bool f; bool was; bool still; byte v; byte closing; byte settled = NONE;
awake: skip;
  d_step { take(g); if :: !LATE -> in_progress(g) :: else fi }
  d_step { f = flag; v = (SAME -> value : 0); closing = 0; still = false; forget(g) }
  if
  :: raises < RAISES -> raises++;
     if
     :: ATOMIC -> d_step { was = flag; flag = true; value++ }
     :: else -> was = flag; d_step { flag = true; value++ }
     fi;
     d_step { if :: !was && RING_ON_RAISE -> ring_all() :: else fi; was = false; f = false; v = 0 }
     goto awake
  :: f -> d_step { settled = NONE; f = false; v = 0 } goto awake
  :: !f && v == settled -> goto end_sleep
  :: !f && v != settled -> skip
  fi;
closed: skip;
  closing = v;
  if
  :: LINE ->
     d_step { M[g*NW+0] = (w[0] == 1); M[g*NW+1] = (w[1] == 1) }
     d_step {
       if :: M[g*NW+0] && w[0] == 1 -> listed[0] = true :: else fi;
       if :: M[g*NW+1] && w[1] == 1 -> listed[1] = true :: else fi
     }
  :: else
  fi;
  if :: LATE -> d_step { in_progress(g); M[g*NW+0] = false; M[g*NW+1] = false } :: else fi;
drain: skip;
  d_step { take(g); still = ((P[g*NW+0] && w[0] == 1) || (P[g*NW+1] && w[1] == 1)) }
  d_step { f = flag; v = (SAME -> value : 0) }
  if
  :: f -> d_step { settled = NONE; f = false; v = 0 } goto awake
  :: !f && v != closing -> goto closed
  :: !f && v == closing && still -> goto drain
  :: !f && v == closing && !still -> d_step { settled = v; v = 0; closing = 0 }
  fi;
end_sleep:
  bell[g] -> bell[g] = false; goto awake
}
proctype Monitor() {
end_m:
  timeout -> assert((w[0] != 2 || (seen[0] && seen[2])) && (w[1] != 2 || (seen[1] && seen[3])))
}
init { atomic { run Gateway(0); run Gateway(1); run Clock(); run Monitor(); run Writer(0); if :: WRITERS == 2 -> run Writer(1) :: else fi } }
