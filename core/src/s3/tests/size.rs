//! What a request costs in memory before it has moved a byte.

use crate::{
    s3::{bucket, copy, list, multipart, object, serve},
    testing::{Ask, Host},
};

/// A handler is boxed for as long as its request lasts; with thousands of connections, their size is what idle costs.
const MAX: usize = 4096;

#[test]
fn every_future_is_small() {
    let host = Host::new();
    let call = host.call(Ask::put("/bucket/k", ""));
    let head = call.request.head.clone();
    let view = call.view.clone();
    let mut sizes = Vec::new();
    host.with_cx(|cx| {
        sizes = vec![
            ("serve", size_of_val(&serve::serve(cx, view, head))),
            ("put_object", size_of_val(&object::put::put_object(cx, &call))),
            ("get_object", size_of_val(&object::get::get_object(cx, &call))),
            ("head_object", size_of_val(&object::get::head_object(cx, &call))),
            ("attributes", size_of_val(&object::attributes::get_object_attributes(cx, &call))),
            ("delete_object", size_of_val(&object::delete::delete_object(cx, &call))),
            ("delete_objects", size_of_val(&object::delete_many::delete_objects(cx, &call))),
            ("list_buckets", size_of_val(&bucket::list::list_buckets(cx, &call))),
            ("create_bucket", size_of_val(&bucket::create::create_bucket(cx, &call))),
            ("delete_bucket", size_of_val(&bucket::delete::delete_bucket(cx, &call))),
            ("list_objects", size_of_val(&list::v1::list_objects(cx, &call))),
            ("copy_object", size_of_val(&copy::object::copy_object(cx, &call))),
            ("upload_part_copy", size_of_val(&copy::part::upload_part_copy(cx, &call))),
            ("create", size_of_val(&multipart::create::create_multipart_upload(cx, &call))),
            ("upload_part", size_of_val(&multipart::upload_part::upload_part(cx, &call))),
            ("complete", size_of_val(&multipart::complete::complete_multipart_upload(cx, &call))),
            ("abort", size_of_val(&multipart::abort::abort_multipart_upload(cx, &call))),
            ("list_parts", size_of_val(&multipart::list_parts::list_parts(cx, &call))),
            (
                "list_uploads",
                size_of_val(&multipart::list_uploads::list_multipart_uploads(cx, &call)),
            ),
            ("list_objects_v2", size_of_val(&list::v2::list_objects_v2(cx, &call))),
        ];
    });
    for (name, size) in sizes {
        assert!(size <= MAX, "{name}: {size} bytes");
    }
}
