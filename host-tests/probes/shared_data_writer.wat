;; Writes what `get_shared_data.wat` reads: shared data between filters with the same `vm_id`.
(module
 (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "get_shared_data")) (then
   (call $told (text "write") (call $set (text "probe.shared") (text "of the first filter") (i32.const 0)))))
  (i32.const 0))
)
