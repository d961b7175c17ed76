;; proxy_get_status: outside calls there is none; pointers outside memory.
(module
 (import "env" "proxy_get_status" (func $status (param i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "get_status")) (then
   (call $got (text "status") (call $status (global.get $number) (global.get $pointer) (global.get $size)))
   (call $told (text "number") (i32.load (global.get $number)))
   (call $told (text "number nowhere") (call $status (global.get $nowhere) (global.get $pointer) (global.get $size)))
   (call $told (text "text nowhere") (call $status (global.get $number) (global.get $nowhere) (global.get $size)))))
  (i32.const 0))
 (func (export "proxy_on_log") (param $id i32)
  (if (call $awake (local.get $id)) (then
   (call $got (text "status") (call $status (global.get $number) (global.get $pointer) (global.get $size))))))
)
