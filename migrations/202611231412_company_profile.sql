-- What a company's documents say of it: fiscal data and where it is.

alter table companies
  add tax_regime text
    constraint companies_tax_regime_known check (tax_regime in ('vat_responsible', 'not_vat_responsible')),
  add fiscal_responsibilities text[] not null default '{}'
    constraint companies_fiscal_responsibilities_known check (
      fiscal_responsibilities <@ array['O-13', 'O-15', 'O-23', 'O-47', 'R-99-PN']
      and cardinality(fiscal_responsibilities) <= 5),
  add ciiu_code text constraint companies_ciiu_code_format check (ciiu_code ~ '^[0-9]{4}$'),
  -- DIVIPOLA: two digits of the department, three of the municipality.
  add municipality_code text constraint companies_municipality_code_known check (
    municipality_code ~ '^(05|08|1[135789]|2[0357]|4[147]|5[024]|6[368]|7[036]|8[1568]|9[14579])[0-9]{3}$'),
  add email text constraint companies_email_length check (char_length(email) between 3 and 254),
  add website text constraint companies_website_length check (char_length(website) between 1 and 255);
select tenant_table('companies', system_too => true);
revoke insert, delete on companies from ally_app;
revoke update (state) on companies from ally_app;
