;; proxy_get_current_time_nanoseconds: a time after 2020 that does not go back, a pointer outside memory.
(module
 (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
 ;; include "prelude.wat"
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "get_current_time_nanoseconds")) (then
   (call $told (text "time") (call $time (global.get $long)))
   (call $told (text "after 2020") (i64.gt_u (i64.load (global.get $long)) (i64.const 1577836800000000000)))
   (call $told (text "nowhere") (call $time (global.get $nowhere)))))
  (i32.const 0))
)
