//! One of each resource, for the path parameters of the document.

/// How the resource comes to be that a path parameter, a body field or a filter of this name names.
pub struct Seed {
    pub parameter: &'static str,
    /// Operation that creates one, or [`JOINING`].
    pub create: &'static str,
}

/// No operation of the company makes a member: he accepts an invitation.
pub const JOINING: &str = "joining";

/// A resource stands after those it refers to.
pub const SEEDS: &[Seed] = &[
    Seed {
        parameter: "brand_id",
        create: "create_brand",
    },
    Seed {
        parameter: "category_id",
        create: "create_category",
    },
    Seed {
        parameter: "product_id",
        create: "create_product",
    },
    Seed {
        parameter: "file_id",
        create: "presign_upload",
    },
    Seed {
        parameter: "user_id",
        create: JOINING,
    },
    Seed {
        parameter: "invitation_id",
        create: "invite_user",
    },
    Seed {
        parameter: "api_key_id",
        create: "create_api_key",
    },
    Seed {
        parameter: "image_id",
        create: "add_product_image",
    },
    // Every upload has enqueued one.
    Seed {
        parameter: "job_id",
        create: "list_jobs",
    },
];

/// Ids of whatever the client likes: they refer to nothing.
pub const FREE: [&str; 2] = ["actor_id", "entity_id"];

/// The seed of a parameter or field.
pub fn seed(parameter: &str) -> Option<&'static Seed> {
    SEEDS.iter().find(|seed| seed.parameter == parameter)
}
