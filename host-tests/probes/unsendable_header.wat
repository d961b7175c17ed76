;; A request header whose value HTTP/1 can't carry: Envoy's codec refuses to send it, and the client gets 503.
(module
 (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (func (export "proxy_abi_version_0_2_1"))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "unsendable_header")) (then
   (call $told (text "bytes") (call $add (i32.const 0) (text "x-bytes") (text "\ff\01")))))
  (i32.const 0))
)
