"""Driver: one native interpreter that runs every program's list of commands.

Takes: nothing that depends on a program. Gives: LLVM IR of the driver and of the function objects
that Python calls; the numbers of commands and statuses; the layout of a program's state.
The one idea: a program is a table of commands with ready addresses, so a new program needs no new
driver code; a command costs a few nanoseconds, a launch a microsecond at least.

``call(arrays)`` fills the first entries of the program's pointer table from a list of NumPy
arrays and runs the program; it returns 0 or the number of the check that failed. Where it needs
Python it calls the program's helper with a code.
"""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.codegen.region import STARTED, WANTED, region_text

# --- commands: eight i64 each, the first one of these numbers ------------------------------------
END = 0
# function, arguments, chunks, launch number, most threads: in this thread, or shared
SERIAL, PARALLEL = 1, 2
# list of (address to write, address of the pointer), its length
PATCH = 3
# pointer to write, outer pointer, first byte, bytes a round, address of the round's number
VIEW = 4
# address of the round's number; the same, number of rounds, address of the loop's first command
BEGIN, NEXT = 5, 6
# address of the target pointer, of the source pointer, bytes
COPY = 7
# address of the pointer to a bool, number of the check
CHECK = 8
# number of the host call
HOST = 9
# address of the pointer to a bool, -, address of the command to go on with unless it is true
UNLESS = 10
# -, -, address of the command to go on with
JUMP = 11
COMMAND_BYTES = 64

# --- what the helper is asked for; it raises or the driver tries again --------------------------
PREPARE = -1  # start workers
BUSY = -2  # wait: another thread is inside this program
NOT_ARRAYS = -3  # raise: the list does not hold as many NumPy arrays as the program takes
PAUSED = -4  # the driver's own: signals are looked at
HOST_CALL = -16  # -16 - n: compute host call n

# --- a program's state: i64 each, by index -------------------------------------------------------
(
    IN_USE,  # whether a call is under way
    POSITION,  # address of the next command
    COMMANDS,  # address of the first command
    TABLE,  # address of the pointers
    ARRAYS,  # how many of them a call gives
    POOL,  # address of the pool of workers
    TICKS,  # how long the last whole call took
    LONG,  # from how many ticks on a program releases Python's lock
    INTERVAL,  # after how many ticks a long program pauses, so that signals are served
    LOG,  # address of the profiler's log, or 0
    ARRAY_TYPE,  # address of NumPy's array type
    HELPER,  # address of the function object that is called with a code
    COMMIT,  # address of the first command that writes to an output that matters
    KEYBOARD,  # address of the type KeyboardInterrupt
    STATE_WORDS,
) = range(15)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where objects of this Python keep what the driver reads: byte offsets.

    Attributes:
        type: Of an object's type.
        data: Of a NumPy array's pointer to its elements.
    """

    type: int
    data: int


def _state(index: int, name: str) -> str:
    return f"%{name} = getelementptr i8, ptr %state, i64 {8 * index}"


def _words(label: str, count: int) -> str:
    """Begin a block that loads words 1 to ``count`` of the command at %c."""
    lines = [f"{label}:"]
    for number in range(1, count + 1):
        place = f"%{label}.p{number}"
        lines.append(f"  {place} = getelementptr i8, ptr %c, i64 {8 * number}")
        lines.append(f"  %{label}.{number} = load i64, ptr {place}")
    return "\n".join(lines)


# Runs commands until the program ends, a check fails, Python is needed or the deadline is over.
_RUN = f"""
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
define internal i64 @run(ptr %state, i64 %deadline) nounwind {{
entry:
  {_state(POSITION, "p.position")}
  {_state(POOL, "p.pool")}
  {_state(LOG, "p.log")}
  %pool = load ptr, ptr %p.pool
  %log = load ptr, ptr %p.log
  %logs = icmp ne ptr %log, null
  %first = load ptr, ptr %p.position
  br label %loop
loop:
  %c = phi ptr [ %first, %entry ], [ %next, %step ], [ %again, %more ], [ %there, %leap ]
  %op = load i64, ptr %c
  switch i64 %op, label %end [
    i64 {SERIAL}, label %serial
    i64 {PARALLEL}, label %parallel
    i64 {PATCH}, label %patch
    i64 {VIEW}, label %view
    i64 {BEGIN}, label %begin
    i64 {NEXT}, label %advance
    i64 {COPY}, label %copy
    i64 {CHECK}, label %check
    i64 {HOST}, label %host
    i64 {UNLESS}, label %unless
    i64 {JUMP}, label %jump
  ]
step:
  %next = getelementptr i8, ptr %c, i64 {COMMAND_BYTES}
  br label %loop
{_words("serial", 4)}
  br i1 %logs, label %serial.log, label %serial.run
serial.log:
  %serial.start = call i64 @ticks()
  br label %serial.run
serial.run:
  %serial.since = phi i64 [ 0, %serial ], [ %serial.start, %serial.log ]
  %serial.fn = inttoptr i64 %serial.1 to ptr
  %serial.args = inttoptr i64 %serial.2 to ptr
  call void %serial.fn(ptr %serial.args, i64 0, i64 %serial.3)
  br i1 %logs, label %serial.write, label %launched
serial.write:
  call void @record(ptr %log, i32 0, i64 %serial.4, i64 %serial.since, i64 %serial.3)
  br label %launched
{_words("parallel", 5)}
  br i1 %logs, label %parallel.log, label %parallel.run
parallel.log:
  %parallel.start = call i64 @ticks()
  br label %parallel.run
parallel.run:
  %parallel.since = phi i64 [ 0, %parallel ], [ %parallel.start, %parallel.log ]
  %parallel.fn = inttoptr i64 %parallel.1 to ptr
  %parallel.args = inttoptr i64 %parallel.2 to ptr
  %parallel.most = trunc i64 %parallel.5 to i32
  call void @region(ptr %pool, ptr %parallel.fn, ptr %parallel.args, i64 %parallel.3,
                    i32 %parallel.most, ptr %log, i64 %parallel.4)
  br i1 %logs, label %parallel.write, label %launched
parallel.write:
  call void @record(ptr %log, i32 0, i64 %parallel.4, i64 %parallel.since, i64 %parallel.3)
  br label %launched
launched:
  %patient = icmp eq i64 %deadline, -1
  br i1 %patient, label %step, label %look
look:
  %now = call i64 @ticks()
  %over = icmp ugt i64 %now, %deadline
  br i1 %over, label %pause, label %step
pause:
  %after = getelementptr i8, ptr %c, i64 {COMMAND_BYTES}
  store ptr %after, ptr %p.position
  ret i64 {PAUSED}
{_words("patch", 2)}
  %patch.list = inttoptr i64 %patch.1 to ptr
  br label %patch.loop
patch.loop:
  %patch.i = phi i64 [ 0, %patch ], [ %patch.i1, %patch.write ]
  %patch.more = icmp ult i64 %patch.i, %patch.2
  br i1 %patch.more, label %patch.write, label %step
patch.write:
  %patch.pair = getelementptr [2 x ptr], ptr %patch.list, i64 %patch.i
  %patch.place = load ptr, ptr %patch.pair
  %patch.from = getelementptr i8, ptr %patch.pair, i64 8
  %patch.source = load ptr, ptr %patch.from
  %patch.pointer = load ptr, ptr %patch.source
  store ptr %patch.pointer, ptr %patch.place
  %patch.i1 = add i64 %patch.i, 1
  br label %patch.loop
{_words("view", 5)}
  %view.target = inttoptr i64 %view.1 to ptr
  %view.outer = inttoptr i64 %view.2 to ptr
  %view.round = inttoptr i64 %view.5 to ptr
  %view.base = load i64, ptr %view.outer
  %view.t = load i64, ptr %view.round
  %view.skip = mul i64 %view.t, %view.4
  %view.from = add i64 %view.base, %view.3
  %view.at = add i64 %view.from, %view.skip
  store i64 %view.at, ptr %view.target
  br label %step
{_words("begin", 1)}
  %begin.round = inttoptr i64 %begin.1 to ptr
  store i64 0, ptr %begin.round
  br label %step
{_words("advance", 3)}
  %advance.round = inttoptr i64 %advance.1 to ptr
  %advance.t = load i64, ptr %advance.round
  %advance.t1 = add i64 %advance.t, 1
  store i64 %advance.t1, ptr %advance.round
  %advance.more = icmp ult i64 %advance.t1, %advance.2
  br i1 %advance.more, label %more, label %step
more:
  %again = inttoptr i64 %advance.3 to ptr
  br label %loop
{_words("copy", 3)}
  %copy.to = inttoptr i64 %copy.1 to ptr
  %copy.from = inttoptr i64 %copy.2 to ptr
  %copy.target = load ptr, ptr %copy.to
  %copy.source = load ptr, ptr %copy.from
  call void @llvm.memmove.p0.p0.i64(ptr %copy.target, ptr %copy.source, i64 %copy.3, i1 false)
  br label %step
{_words("check", 2)}
  %check.at = inttoptr i64 %check.1 to ptr
  %check.pointer = load ptr, ptr %check.at
  %check.ok = load i8, ptr %check.pointer
  %check.good = icmp ne i8 %check.ok, 0
  br i1 %check.good, label %step, label %failed
failed:
  ret i64 %check.2
{_words("unless", 3)}
  %unless.at = inttoptr i64 %unless.1 to ptr
  %unless.pointer = load ptr, ptr %unless.at
  %unless.ok = load i8, ptr %unless.pointer
  %unless.good = icmp ne i8 %unless.ok, 0
  br i1 %unless.good, label %step, label %leap
{_words("jump", 3)}
  br label %leap
leap:
  %leap.to = phi i64 [ %unless.3, %unless ], [ %jump.3, %jump ]
  %there = inttoptr i64 %leap.to to ptr
  br label %loop
{_words("host", 1)}
  %host.after = getelementptr i8, ptr %c, i64 {COMMAND_BYTES}
  store ptr %host.after, ptr %p.position
  %host.status = sub i64 {HOST_CALL}, %host.1
  ret i64 %host.status
end:
  ret i64 0
}}
"""

# Runs one stretch of a program; if the last call was long, without holding Python's lock.
_STRETCH = f"""
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
define internal i64 @stretch(ptr %state, i1 %long) nounwind {{
entry:
  br i1 %long, label %released, label %held
held:
  %quick = call i64 @run(ptr %state, i64 -1)
  ret i64 %quick
released:
  {_state(INTERVAL, "p.interval")}
  %interval = load i64, ptr %p.interval
  %start = call i64 @ticks()
  %deadline = add i64 %start, %interval
  %thread = call ptr @PyEval_SaveThread()
  %slow = call i64 @run(ptr %state, i64 %deadline)
  call void @PyEval_RestoreThread(ptr %thread)
  ret i64 %slow
}}
"""

# Runs a program to its end. An exception that comes after the first write to an output that
# matters is kept until the program is complete, so that no update stays half done.
_GO = f"""
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyObject_CallFunctionObjArgs(ptr, ...)
declare void @Py_DecRef(ptr)
declare i32 @PyErr_CheckSignals()
declare i32 @PyErr_ExceptionMatches(ptr)
declare void @PyErr_Fetch(ptr, ptr, ptr)
declare void @PyErr_Restore(ptr, ptr, ptr)

; Calls the program's helper in Python with a code; whether it raised.
define internal i1 @help(ptr %state, i64 %code) {{
  {_state(HELPER, "p.helper")}
  %helper = load ptr, ptr %p.helper
  %number = call ptr @PyLong_FromLongLong(i64 %code)
  %result = call ptr (ptr, ...) @PyObject_CallFunctionObjArgs(ptr %helper, ptr %number, ptr null)
  call void @Py_DecRef(ptr %number)
  call void @Py_DecRef(ptr %result)
  %raised = icmp eq ptr %result, null
  ret i1 %raised
}}

; Puts the current exception away if the program has to be completed first.
define internal i1 @keep(ptr %state, ptr %saved) {{
  {_state(POSITION, "p.position")}
  {_state(COMMIT, "p.commit")}
  %position = load i64, ptr %p.position
  %commit = load i64, ptr %p.commit
  %early = icmp ule i64 %position, %commit
  %first = load ptr, ptr %saved
  %second = icmp ne ptr %first, null
  %aborts = or i1 %early, %second
  br i1 %aborts, label %no, label %yes
no:
  ret i1 false
yes:
  %value = getelementptr i8, ptr %saved, i64 8
  %trace = getelementptr i8, ptr %saved, i64 16
  call void @PyErr_Fetch(ptr %saved, ptr %value, ptr %trace)
  ret i1 true
}}

define internal ptr @go(ptr %state) {{
entry:
  %saved = alloca [3 x ptr], align 16
  store [3 x ptr] zeroinitializer, ptr %saved
  {_state(IN_USE, "p.in_use")}
  {_state(TICKS, "p.ticks")}
  {_state(LONG, "p.long")}
  %last = load i64, ptr %p.ticks
  %limit = load i64, ptr %p.long
  %long = icmp ugt i64 %last, %limit
  %start = call i64 @ticks()
  br label %stretch
stretch:
  %status = call i64 @stretch(ptr %state, i1 %long)
  %complete = icmp sge i64 %status, 0
  br i1 %complete, label %done, label %stopped
stopped:
  %paused = icmp eq i64 %status, {PAUSED}
  br i1 %paused, label %signals, label %host
signals:
  %waiting = load ptr, ptr %saved
  %told = icmp ne ptr %waiting, null
  br i1 %told, label %stretch, label %ask
ask:
  %signal = call i32 @PyErr_CheckSignals()
  %none = icmp eq i32 %signal, 0
  br i1 %none, label %stretch, label %interrupted
interrupted:
  %kept = call i1 @keep(ptr %state, ptr %saved)
  br i1 %kept, label %stretch, label %abort
host:
  %failed = call i1 @help(ptr %state, i64 %status)
  br i1 %failed, label %why, label %stretch
why:
  {_state(KEYBOARD, "p.keyboard")}
  %kind = load ptr, ptr %p.keyboard
  %matches = call i32 @PyErr_ExceptionMatches(ptr %kind)
  %keyboard = icmp ne i32 %matches, 0
  br i1 %keyboard, label %retry, label %abort
retry:
  %kept1 = call i1 @keep(ptr %state, ptr %saved)
  br i1 %kept1, label %host, label %abort
abort:
  store atomic i64 0, ptr %p.in_use release, align 8
  ret ptr null
done:
  %end = call i64 @ticks()
  %elapsed = sub i64 %end, %start
  store i64 %elapsed, ptr %p.ticks
  store atomic i64 0, ptr %p.in_use release, align 8
  %type = load ptr, ptr %saved
  %clean = icmp eq ptr %type, null
  br i1 %clean, label %answer, label %raise
answer:
  %result = call ptr @PyLong_FromLongLong(i64 %status)
  ret ptr %result
raise:
  %p.value = getelementptr i8, ptr %saved, i64 8
  %p.trace = getelementptr i8, ptr %saved, i64 16
  %value = load ptr, ptr %p.value
  %trace = load ptr, ptr %p.trace
  call void @PyErr_Restore(ptr %type, ptr %value, ptr %trace)
  ret ptr null
}}
"""


# What Python calls with a list of arrays; the layout's offsets are put in last.
_ENTRY = f"""
declare i64 @PyList_Size(ptr)
declare ptr @PyList_GetItem(ptr, i64)
declare void @PyErr_Clear()
define ptr @call(ptr %self, ptr %arrays) {{
entry:
  %p.state = getelementptr i8, ptr %self, i64 DATA_OFFSET
  %state = load ptr, ptr %p.state
  {_state(POOL, "p.pool")}
  {_state(ARRAYS, "p.arrays")}
  {_state(IN_USE, "p.in_use")}
  {_state(TABLE, "p.table")}
  {_state(ARRAY_TYPE, "p.type")}
  {_state(COMMANDS, "p.commands")}
  {_state(POSITION, "p.position")}
  br label %count
count:
  %size = call i64 @PyList_Size(ptr %arrays)
  %wanted = load i64, ptr %p.arrays
  %fits = icmp eq i64 %size, %wanted
  br i1 %fits, label %workers, label %unfit
unfit:
  call void @PyErr_Clear()
  br label %help
workers:
  %pool = load ptr, ptr %p.pool
  %p.started = getelementptr i8, ptr %pool, i64 {STARTED}
  %p.wanted = getelementptr i8, ptr %pool, i64 {WANTED}
  %started = load atomic i32, ptr %p.started monotonic, align 4
  %threads = load atomic i32, ptr %p.wanted monotonic, align 4
  %running = add i32 %started, 1
  %short = icmp ult i32 %running, %threads
  br i1 %short, label %help, label %enter
enter:
  %before = atomicrmw xchg ptr %p.in_use, i64 1 acquire
  %free = icmp eq i64 %before, 0
  br i1 %free, label %fill, label %help
fill:
  %table = load ptr, ptr %p.table
  %type = load ptr, ptr %p.type
  br label %next
next:
  %i = phi i64 [ 0, %fill ], [ %i1, %store ]
  %more = icmp ult i64 %i, %size
  br i1 %more, label %item, label %start
item:
  %object = call ptr @PyList_GetItem(ptr %arrays, i64 %i)
  %p.kind = getelementptr i8, ptr %object, i64 TYPE_OFFSET
  %kind = load ptr, ptr %p.kind
  %known = icmp eq ptr %kind, %type
  br i1 %known, label %store, label %foreign
foreign:
  store atomic i64 0, ptr %p.in_use release, align 8
  br label %help
store:
  %p.data = getelementptr i8, ptr %object, i64 DATA_OFFSET
  %data = load ptr, ptr %p.data
  %place = getelementptr ptr, ptr %table, i64 %i
  store ptr %data, ptr %place
  %i1 = add i64 %i, 1
  br label %next
start:
  %first = load ptr, ptr %p.commands
  store ptr %first, ptr %p.position
  %result = call ptr @go(ptr %state)
  ret ptr %result
help:
  %code = phi i64 [ {NOT_ARRAYS}, %unfit ], [ {PREPARE}, %workers ], [ {BUSY}, %enter ],
                  [ {NOT_ARRAYS}, %foreign ]
  %raised = call i1 @help(ptr %state, i64 %code)
  br i1 %raised, label %raise, label %count
raise:
  ret ptr null
}}
"""


def driver_text(triple: str, layout: Layout) -> str:
    """Return the module that runs programs: ``call``, ``worker``, ``region`` and their helpers."""
    entry = _ENTRY.replace("DATA_OFFSET", str(layout.data)).replace("TYPE_OFFSET", str(layout.type))
    return "\n".join((region_text(triple), _RUN, _STRETCH, _GO, entry))
