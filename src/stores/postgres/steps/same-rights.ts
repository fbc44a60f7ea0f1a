/** Whoever has rights on the outbox gets the same on a table that was made later. */
export const sameRights = (
  S: string,
  table: string,
): string => `-- Whoever has rights on the outbox has the same on this table.
do $$
declare
  given record;
begin
  for given in
    select a.privilege_type, case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end as grantee
    from pg_class c cross join lateral aclexplode(c.relacl) a
    where c.oid = '${S}.outbox'::regclass and a.grantee <> c.relowner and a.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
  loop
    execute format('grant %s on ${S}.${table} to %s', given.privilege_type, given.grantee);
  end loop;
end $$;
`
