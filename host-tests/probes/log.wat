;; proxy_log: every level, one too many, an empty line, line breaks and bytes, a text outside memory.
(module
 (import "env" "proxy_log" (func $write (param i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (func $each (local $map i32)
  (loop $next
   (call $put (text "level "))
   (call $put_number (local.get $map))
   (call $told (i32.const 0) (i32.const 0) (call $write (local.get $map) (text "a line")))
   (local.set $map (i32.add (local.get $map) (i32.const 1)))
   (br_if $next (i32.le_u (local.get $map) (i32.const 7)))))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "log")) (then
   (call $each)
   (call $told (text "level -1") (call $write (i32.const -1) (text "x")))
   (call $told (text "nowhere") (call $write (i32.const 2) (global.get $nowhere) (i32.const 1)))
   (call $told (text "empty") (call $write (i32.const 2) (text "")))
   (call $told (text "breaks") (call $write (i32.const 3) (text "one\ntwo\t\e9 \u{20ac} \\ end")))))
  (i32.const 0))
 (func (export "proxy_on_log") (param $id i32)
  (if (call $awake (local.get $id)) (then
   (call $told (text "in the log") (call $write (i32.const 4) (text "logged in the log"))))))
)
