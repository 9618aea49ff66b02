-- Pictures that products show.

-- What shows a file refers to this: null for whatever is no picture with thumbnails, and for a deleted
-- one, so a picture in use can neither be deleted nor be anything else, whoever comes first.
alter table files add picture_id uuid generated always as (
  case when state = 'ready' and deleted_at is null and starts_with(content_type, 'image/')
            and variants <> '[]' then id end) stored;
alter table files add constraint files_picture unique (tenant_id, picture_id);
select audited('files', ignored => '{progress}');

create table product_images (
  tenant_id uuid not null references companies,
  id uuid not null,
  product_id uuid not null,
  file_id uuid not null,
  -- Order among the others; the earlier one first when two have the same.
  position smallint not null constraint product_images_position_range check (position between 1 and 999),
  is_primary boolean not null,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id),
  constraint product_images_product foreign key (tenant_id, product_id) references products (tenant_id, id),
  constraint product_images_file_in_use foreign key (tenant_id, file_id) references files (tenant_id, picture_id)
);
create unique index product_images_one_primary on product_images (tenant_id, product_id) where is_primary;
create index product_images_by_product on product_images (tenant_id, product_id, position, id);
create index product_images_by_file on product_images (tenant_id, file_id);
select tenant_table('product_images');
-- Another product or file is another image.
revoke update (product_id, file_id) on product_images from ally_app;

-- An image as answers about its product show it, with the key of its file, which no longer changes.
create function shown_image(image product_images, key text) returns json
  language sql stable parallel safe
  return json_build_object('id', image.id, 'product_id', image.product_id, 'file_id', image.file_id,
           'position', image.position, 'is_primary', image.is_primary, 'version', image.version, 'urls', key);

-- The primary image as it is shown, written with every change of the images under the product's lock: looking it up
-- for each product of a list would cost PostgreSQL more than the list.
alter table products add primary_image json;
grant update (primary_image) on products to ally_app;
-- It follows from the images, whose changes are recorded.
select audited('products', ignored => '{primary_image}');
