"""Regions: native code that shares the chunks of one phase between threads.

Takes: a processor and an operating system. Gives: LLVM IR of the workers' loop and of `region`.
The one idea: a thread takes a chunk by one compare-and-swap on a word that holds the region's
number and what is left of a block, so a worker that the system has set aside delays nobody: its
chunks are taken by others, and when it comes back the number has changed.

Each participant has a block of consecutive chunks, the same in every run, so data stay in its
core's cache; whoever is done takes from the blocks of the others. A chunk's result does not
depend on who computes it.
"""

from __future__ import annotations

from chainrule.codegen.system import clock_text, relax, sleep_text

# The pool's memory: byte offsets. Words that different threads write lie on lines of their own.
EPOCH = 0  # i32: number of the region; workers wait for it to change
FUNCTION, ARGUMENTS, CHUNKS, PARTICIPANTS, LOG, LAUNCH = 64, 72, 80, 84, 88, 96
DONE, CALLER_SLEEPS = 128, 132  # i32: finished chunks; whether the caller waits in the system
SLEEPERS = 192  # i32: workers that wait in the system
LOCK = 256  # i32: 1 while a region runs
WANTED, STARTED, RESIZED, SPINS = 320, 324, 328, 332  # i32
LATE, LEAST_ALONE, MOST_ALONE = 336, 344, 352  # i64: times in ticks, see `_REGION`
ALONE, ALONE_UNTIL = 264, 272  # i64: how long the caller works alone now, until when
TICKETS, TICKET_BYTES = 384, 64  # i64 each: region's number << 32 | chunks left in the block
MAX_THREADS = 256
POOL_BYTES = TICKETS + TICKET_BYTES * MAX_THREADS

# A log of launches for the profiler: one part for the driver, then one for each participant.
LOG_HEAD, LOG_ENTRY = 64, 32


def _at(offset: int, base: str = "%pool") -> str:
    """Return the address of a field as a line's right-hand side."""
    return f"getelementptr i8, ptr {base}, i64 {offset}"


_RECORD = f"""
define internal void @record(ptr %log, i32 %part, i64 %launch, i64 %start, i64 %chunks)
    nounwind noinline {{
  %end = call i64 @ticks()
  %capacity = load i64, ptr %log
  %bytes = mul i64 %capacity, {LOG_ENTRY}
  %stride = add i64 %bytes, {LOG_HEAD}
  %wide = zext i32 %part to i64
  %skip = mul i64 %stride, %wide
  %from = add i64 %skip, {LOG_HEAD}
  %head = getelementptr i8, ptr %log, i64 %from
  %count = load i64, ptr %head
  %more = add i64 %count, 1
  store i64 %more, ptr %head
  %room = icmp ult i64 %count, %capacity
  br i1 %room, label %write, label %full
write:
  %place = mul i64 %count, {LOG_ENTRY}
  %past = add i64 %place, {LOG_HEAD}
  %entry = getelementptr i8, ptr %head, i64 %past
  store i64 %launch, ptr %entry
  %p1 = getelementptr i8, ptr %entry, i64 8
  store i64 %start, ptr %p1
  %p2 = getelementptr i8, ptr %entry, i64 16
  store i64 %end, ptr %p2
  %p3 = getelementptr i8, ptr %entry, i64 24
  store i64 %chunks, ptr %p3
  br label %full
full:
  ret void
}}
"""

# Takes chunks of the region with this number until none is left, first of the own block; returns
# how many.
_PARTICIPATE = f"""
define internal i32 @participate(ptr %pool, i32 %me, i32 %number) nounwind {{
entry:
  %p.n = {_at(PARTICIPANTS)}
  %p.chunks = {_at(CHUNKS)}
  %p.fn = {_at(FUNCTION)}
  %p.args = {_at(ARGUMENTS)}
  %p.log = {_at(LOG)}
  %n = load atomic i32, ptr %p.n monotonic, align 4
  br label %block
block:
  %k = phi i32 [ 0, %entry ], [ %k1, %empty ]
  %mine0 = phi i32 [ 0, %entry ], [ %mine, %empty ]
  %start0 = phi i64 [ 0, %entry ], [ %start, %empty ]
  %more = icmp ult i32 %k, %n
  br i1 %more, label %look, label %leave
look:
  %from = add i32 %me, %k
  %v = urem i32 %from, %n
  %v64 = zext i32 %v to i64
  %skip = mul i64 %v64, {TICKET_BYTES}
  %offset = add i64 %skip, {TICKETS}
  %ticket = getelementptr i8, ptr %pool, i64 %offset
  br label %take
take:
  %mine = phi i32 [ %mine0, %look ], [ %mine, %try ], [ %mine1, %work ]
  %start = phi i64 [ %start0, %look ], [ %start, %try ], [ %start1, %work ]
  %w = load atomic i64, ptr %ticket acquire, align 64
  %high = lshr i64 %w, 32
  %current = trunc i64 %high to i32
  %live = icmp eq i32 %current, %number
  br i1 %live, label %count, label %leave
count:
  %left = and i64 %w, 4294967295
  %none = icmp eq i64 %left, 0
  br i1 %none, label %empty, label %try
empty:
  %k1 = add i32 %k, 1
  br label %block
try:
  ; Read before the swap: if it succeeds the region was still this one.
  %fn = load atomic ptr, ptr %p.fn monotonic, align 8
  %args = load atomic ptr, ptr %p.args monotonic, align 8
  %chunks = load atomic i32, ptr %p.chunks monotonic, align 4
  %log = load atomic ptr, ptr %p.log monotonic, align 8
  %less = sub i64 %w, 1
  %pair = cmpxchg ptr %ticket, i64 %w, i64 %less acq_rel monotonic, align 64
  %taken = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %taken, label %place, label %take
place:
  %logs = icmp ne ptr %log, null
  %first = icmp eq i32 %mine, 0
  %stamps = and i1 %logs, %first
  br i1 %stamps, label %stamp, label %work
stamp:
  %now = call i64 @ticks()
  br label %work
work:
  %start1 = phi i64 [ %now, %stamp ], [ %start, %place ]
  %wide = zext i32 %chunks to i64
  %n64 = zext i32 %n to i64
  %v1 = add i64 %v64, 1
  %scaled = mul i64 %wide, %v1
  %end = udiv i64 %scaled, %n64
  %chunk = sub i64 %end, %left
  %next = add i64 %chunk, 1
  call void %fn(ptr %args, i64 %chunk, i64 %next)
  %mine1 = add i32 %mine, 1
  br label %take
leave:
  %sum = phi i32 [ %mine0, %block ], [ %mine, %take ]
  %began = phi i64 [ %start0, %block ], [ %start, %take ]
  %idle = icmp eq i32 %sum, 0
  br i1 %idle, label %out, label %report
report:
  ; Chunks that are not reported yet keep the region alive: these fields are still its own.
  %all = load i32, ptr %p.chunks
  %log1 = load ptr, ptr %p.log
  %logs1 = icmp ne ptr %log1, null
  br i1 %logs1, label %write, label %finish
write:
  %p.launch = {_at(LAUNCH)}
  %launch = load i64, ptr %p.launch
  %part = add i32 %me, 1
  %sum64 = zext i32 %sum to i64
  call void @record(ptr %log1, i32 %part, i64 %launch, i64 %began, i64 %sum64)
  br label %finish
finish:
  %p.done = {_at(DONE)}
  %p.sleeps = {_at(CALLER_SLEEPS)}
  %before = atomicrmw add ptr %p.done, i32 %sum seq_cst
  %after = add i32 %before, %sum
  %last = icmp eq i32 %after, %all
  br i1 %last, label %ring, label %out
ring:
  %sleeps = load atomic i32, ptr %p.sleeps seq_cst, align 4
  %waits = icmp ne i32 %sleeps, 0
  br i1 %waits, label %wake, label %out
wake:
  call void @wake_all(ptr %p.done)
  br label %out
out:
  ret i32 %sum
}}
"""


def _await_text(hint: str) -> str:
    """Return IR that spins a bounded number of times until a word differs from a value."""
    return f"""
define internal i32 @spin_while(ptr %pool, ptr %word, i32 %value) nounwind {{
entry:
  %p = {_at(SPINS)}
  %limit = load i32, ptr %p
  br label %loop
loop:
  %i = phi i32 [ 0, %entry ], [ %i1, %again ]
  %now = load atomic i32, ptr %word acquire, align 4
  %same = icmp eq i32 %now, %value
  %room = icmp ult i32 %i, %limit
  %stay = and i1 %same, %room
  br i1 %stay, label %again, label %out
again:
  {hint}
  %i1 = add i32 %i, 1
  br label %loop
out:
  ret i32 %now
}}
define void @spin(ptr %pool) nounwind {{
  %p = {_at(EPOCH)}
  %v = load i32, ptr %p
  %w = call i32 @spin_while(ptr %pool, ptr %p, i32 %v)
  ret void
}}
"""


# A worker's life. It never comes back; the thread ends with the process.
_WORKER = f"""
define void @worker(ptr %pool, i32 %me) nounwind {{
entry:
  %p.epoch = {_at(EPOCH)}
  %p.wanted = {_at(WANTED)}
  %p.started = {_at(STARTED)}
  %p.resized = {_at(RESIZED)}
  %p.sleepers = {_at(SLEEPERS)}
  %first = load atomic i32, ptr %p.epoch seq_cst, align 4
  %was = atomicrmw add ptr %p.started, i32 1 seq_cst
  br label %loop
loop:
  %seen = phi i32 [ %first, %entry ], [ %seen, %rest ], [ %seen, %doze ], [ %number, %work ]
  %generation = load atomic i32, ptr %p.resized seq_cst, align 4
  %wanted = load atomic i32, ptr %p.wanted seq_cst, align 4
  %needed = icmp ult i32 %me, %wanted
  br i1 %needed, label %watch, label %rest
rest:
  call void @sleep_while(ptr %p.resized, i32 %generation)
  br label %loop
watch:
  %number = call i32 @spin_while(ptr %pool, ptr %p.epoch, i32 %seen)
  %same = icmp eq i32 %number, %seen
  br i1 %same, label %doze, label %work
doze:
  %s0 = atomicrmw add ptr %p.sleepers, i32 1 seq_cst
  call void @sleep_while(ptr %p.epoch, i32 %seen)
  %s1 = atomicrmw sub ptr %p.sleepers, i32 1 seq_cst
  br label %loop
work:
  %mine = call i32 @participate(ptr %pool, i32 %me, i32 %number)
  br label %loop
}}
"""

# A worker that is set aside in the middle of a chunk holds up the caller until it runs again, some
# milliseconds. If the wait is longer than `LATE` and eight of the caller's own chunks, the
# processors are wanted by others: the caller works alone for a while, for twice as long each time
# unless the workers have been on time for long.
#
# Runs all chunks of a phase, on ``most`` threads at most, and returns when they are done.
_REGION = f"""
define void @resize(ptr %pool, i32 %threads) nounwind {{
  %p.wanted = {_at(WANTED)}
  %p.resized = {_at(RESIZED)}
  store atomic i32 %threads, ptr %p.wanted seq_cst, align 4
  %old = atomicrmw add ptr %p.resized, i32 1 seq_cst
  call void @wake_all(ptr %p.resized)
  ret void
}}
define void @region(ptr %pool, ptr %fn, ptr %args, i64 %chunks, i32 %most,
                    ptr %log, i64 %launch) nounwind {{
entry:
  %p.wanted = {_at(WANTED)}
  %p.started = {_at(STARTED)}
  %p.lock = {_at(LOCK)}
  %wanted = load atomic i32, ptr %p.wanted monotonic, align 4
  %started = load atomic i32, ptr %p.started monotonic, align 4
  %running = add i32 %started, 1
  %fewer = icmp ult i32 %running, %wanted
  %able = select i1 %fewer, i32 %running, i32 %wanted
  %capped = icmp ult i32 %most, %able
  %threads = select i1 %capped, i32 %most, i32 %able
  %threads64 = zext i32 %threads to i64
  %few = icmp ult i64 %chunks, %threads64
  %n64 = select i1 %few, i64 %chunks, i64 %threads64
  %n = trunc i64 %n64 to i32
  %alone = icmp ult i64 %n64, 2
  %large = icmp ugt i64 %chunks, 2147483647
  %single = or i1 %alone, %large
  br i1 %single, label %serial, label %consider
consider:
  %p.until = {_at(ALONE_UNTIL)}
  %until = load atomic i64, ptr %p.until monotonic, align 8
  %begun = call i64 @ticks()
  %crowded = icmp ult i64 %begun, %until
  br i1 %crowded, label %serial, label %try
try:
  %busy = atomicrmw xchg ptr %p.lock, i32 1 acquire
  %free = icmp eq i32 %busy, 0
  br i1 %free, label %publish, label %serial
serial:
  call void %fn(ptr %args, i64 0, i64 %chunks)
  ret void
publish:
  %p.epoch = {_at(EPOCH)}
  %p.fn = {_at(FUNCTION)}
  %p.args = {_at(ARGUMENTS)}
  %p.chunks = {_at(CHUNKS)}
  %p.n = {_at(PARTICIPANTS)}
  %p.log = {_at(LOG)}
  %p.launch = {_at(LAUNCH)}
  %p.done = {_at(DONE)}
  %p.sleeps = {_at(CALLER_SLEEPS)}
  %p.sleepers = {_at(SLEEPERS)}
  %count = trunc i64 %chunks to i32
  store atomic ptr %fn, ptr %p.fn monotonic, align 8
  store atomic ptr %args, ptr %p.args monotonic, align 8
  store atomic i32 %count, ptr %p.chunks monotonic, align 4
  store atomic i32 %n, ptr %p.n monotonic, align 4
  store atomic ptr %log, ptr %p.log monotonic, align 8
  store i64 %launch, ptr %p.launch
  store i32 0, ptr %p.done
  store i32 0, ptr %p.sleeps
  %old = load i32, ptr %p.epoch
  %number = add i32 %old, 1
  %number64 = zext i32 %number to i64
  %high = shl i64 %number64, 32
  br label %deal
deal:
  %v = phi i64 [ 0, %publish ], [ %v1, %deal ]
  %begin = phi i64 [ 0, %publish ], [ %end, %deal ]
  %v1 = add i64 %v, 1
  %scaled = mul i64 %chunks, %v1
  %end = udiv i64 %scaled, %n64
  %size = sub i64 %end, %begin
  %word = or i64 %high, %size
  %skip = mul i64 %v, {TICKET_BYTES}
  %offset = add i64 %skip, {TICKETS}
  %ticket = getelementptr i8, ptr %pool, i64 %offset
  store atomic i64 %word, ptr %ticket release, align 64
  %dealt = icmp eq i64 %v1, %n64
  br i1 %dealt, label %call, label %deal
call:
  %previous = atomicrmw xchg ptr %p.epoch, i32 %number seq_cst
  %asleep = load atomic i32, ptr %p.sleepers seq_cst, align 4
  %quiet = icmp eq i32 %asleep, 0
  br i1 %quiet, label %join, label %wake
wake:
  call void @wake_all(ptr %p.epoch)
  br label %join
join:
  %mine = call i32 @participate(ptr %pool, i32 0, i32 %number)
  %worked = call i64 @ticks()
  br label %check
check:
  %done = load atomic i32, ptr %p.done acquire, align 4
  %all = icmp eq i32 %done, %count
  br i1 %all, label %finished, label %spin
spin:
  %seen = call i32 @spin_while(ptr %pool, ptr %p.done, i32 %done)
  %same = icmp eq i32 %seen, %done
  br i1 %same, label %sleep, label %check
sleep:
  store atomic i32 1, ptr %p.sleeps seq_cst, align 4
  call void @sleep_while(ptr %p.done, i32 %done)
  br label %check
finished:
  %ended = call i64 @ticks()
  %p.late = {_at(LATE)}
  %late = load i64, ptr %p.late
  %waited = sub i64 %ended, %worked
  %own = sub i64 %worked, %begun
  %some = icmp ne i32 %mine, 0
  br i1 %some, label %helped, label %robbed
helped:
  %mine64 = zext i32 %mine to i64
  %mean = udiv i64 %own, %mine64
  %eight = shl i64 %mean, 3
  %fair = add i64 %late, %eight
  %unfair = icmp ugt i64 %waited, %fair
  br i1 %unfair, label %retire, label %release
robbed:
  ; A worker has run in the caller's place, on the same processor.
  %quarter = lshr i64 %late, 2
  %halted = icmp ugt i64 %own, %quarter
  br i1 %halted, label %retire, label %release
retire:
  %p.alone = {_at(ALONE)}
  %p.least = {_at(LEAST_ALONE)}
  %p.most = {_at(MOST_ALONE)}
  %before = load i64, ptr %p.alone
  %least = load i64, ptr %p.least
  %utmost = load i64, ptr %p.most
  %streak = sub i64 %begun, %until
  %four = shl i64 %before, 2
  %soon = icmp ult i64 %streak, %four
  %double = shl i64 %before, 1
  %next = select i1 %soon, i64 %double, i64 %least
  %over = icmp ugt i64 %next, %utmost
  %span = select i1 %over, i64 %utmost, i64 %next
  %to = add i64 %ended, %span
  store i64 %span, ptr %p.alone
  store atomic i64 %to, ptr %p.until monotonic, align 8
  br label %release
release:
  store atomic i32 0, ptr %p.lock release, align 4
  ret void
}}
"""


def region_text(triple: str) -> str:
    """Return IR of the functions that share work: ``worker``, ``region`` and their helpers."""
    declaration, hint = relax(triple)
    parts = (declaration, sleep_text(triple), _RECORD, _await_text(hint))
    return "\n".join((clock_text(triple), *parts, _PARTICIPATE, _WORKER, _REGION))
