/**
 * The functions that other languages call in their own transactions: `publish` and `send`, each for
 * a body as `jsonb`, `text` and `bytea`. Documented in `docs/sql-contract.md`; the bounds are those
 * of `core/validation.ts`.
 */
export function contractFunctions(S: string): string {
  return [
    helpers(S),
    add(S),
    ...(['jsonb', 'text', 'bytea'] as const).flatMap((body) => [publish(S, body), send(S, body)]),
  ].join('\n')
}

type BodyType = 'jsonb' | 'text' | 'bytea'

const settings = 'set search_path = pg_catalog, pg_temp'

const helpers = (S: string): string => `
-- A UUID of version 7 (RFC 9562), made by the clock of the database.
create function ${S}.uuidv7() returns uuid language sql volatile ${settings} as $$
  select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$;

create function ${S}.check_name(field text, given text) returns void language plpgsql immutable ${settings} as $$
begin
  if given is null or given !~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}$' then
    raise exception using errcode = '22023', message = format('mersal: %s is not a name', field),
      hint = 'It has 1 to 200 letters, digits, ''.'', ''_'', '':'', ''/'' or ''-'', and begins with a letter or a digit.';
  end if;
end $$;

create function ${S}.check_key(given text) returns void language plpgsql immutable ${settings} as $$
begin
  if given is not null and (octet_length(given) not between 1 and 255 or given ~ '[\\u0001-\\u001f\\u007f-\\u009f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]') then
    raise exception using errcode = '22023', message = 'mersal: partition_key has 1 to 255 bytes and no control characters';
  end if;
end $$;

-- The headers as text, in lower case, checked.
create function ${S}.check_headers(given jsonb) returns jsonb language plpgsql immutable ${settings} as $$
declare
  header record;
  result jsonb := '{}';
begin
  if given is null then return result; end if;
  if jsonb_typeof(given) <> 'object' then
    raise exception using errcode = '22023', message = 'mersal: headers must be a JSON object of texts';
  end if;
  if (select count(*) from jsonb_object_keys(given)) > 100 then
    raise exception using errcode = '22023', message = 'mersal: at most 100 headers are allowed';
  end if;
  for header in select lower(e.key) as name, e.value, e.value #>> '{}' as content from jsonb_each(given) e loop
    if header.name !~ '^[a-z0-9][a-z0-9._-]{0,127}$' or result ? header.name then
      raise exception using errcode = '22023', message = format('mersal: header name %s is not allowed or given twice', quote_literal(left(header.name, 60))),
        hint = 'A name has 1 to 128 letters, digits, ''.'', ''_'' or ''-'', beginning with a letter or a digit.';
    end if;
    if header.name in ('correlation-id', 'causation-id', 'sent-at', 'content-type', 'partition-key', 'sender') then
      raise exception using errcode = '22023', message = format('mersal: header %s is set by mersal itself', header.name);
    end if;
    if jsonb_typeof(header.value) <> 'string' or octet_length(header.content) > 8192 or header.content ~ '[\\u0001-\\u001f\\u007f-\\u009f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]' then
      raise exception using errcode = '22023', message = format('mersal: header %s must be text of at most 8192 bytes without control characters', header.name);
    end if;
    result := result || jsonb_build_object(header.name, header.content);
  end loop;
  if octet_length(result::text) > 49152 then
    raise exception using errcode = '22023', message = 'mersal: all headers together must stay below 49152 bytes';
  end if;
  return result;
end $$;
`

const add = (S: string): string => `
create function ${S}.add_message(kind text, name text, type text, body bytea, content_type text, partition_key text, headers jsonb,
  delay interval, transport text, id uuid) returns uuid
language plpgsql volatile ${settings} as $$
declare
  message_id uuid := coalesce(id, ${S}.uuidv7());
  delay_ms double precision := coalesce(extract(epoch from delay) * 1000, 0);
  all_headers jsonb;
begin
  perform ${S}.check_name('type', type), ${S}.check_name(kind, name), ${S}.check_name('transport', transport), ${S}.check_key(partition_key);
  if body is null then
    raise exception using errcode = '22004', message = 'mersal: body is null', hint = 'Send the JSON value null as ''null''::jsonb.';
  end if;
  if not (delay_ms between 0 and 31536000000) then
    raise exception using errcode = '22023', message = 'mersal: delay must be an interval from 0 to a year';
  end if;
  all_headers := ${S}.check_headers(headers) || jsonb_build_object('correlation-id', message_id, 'sender', 'sql', 'content-type', content_type,
    'sent-at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
  perform ${S}.outbox_save(json_build_array(json_build_object('n', 0, 'id', message_id, 'key', partition_key, 'delay', delay_ms, 'type', type,
    'transport', transport, 'kind', kind, 'name', name, 'headers', all_headers::text, 'start', 0, 'length', octet_length(body)))::text,
    body, null, 0);
  return message_id;
end $$;
`

/**
 * How a body of this SQL type becomes bytes. Text must be JSON, unless another content type is
 * named.
 */
const bytesOf: Readonly<Record<BodyType, string>> = {
  bytea: 'body',
  jsonb: `convert_to(body::text, 'UTF8')`,
  text: `convert_to(case when content_type = 'application/json' then body::json::text else body end, 'UTF8')`,
}

const options = (
  body: BodyType,
): string => `partition_key text default null, headers jsonb default null,
  delay interval default null, ${body === 'jsonb' ? '' : `content_type text default 'application/json', `}transport text default 'default', id uuid default null`

const contentType = (body: BodyType): string =>
  body === 'jsonb' ? `'application/json'` : 'content_type'

const publish = (S: string, body: BodyType): string => `
-- Publishes an event to the topic of its type.
create function ${S}.publish(type text, body ${body}, ${options(body)}) returns uuid
language sql volatile ${settings} as $$
  select ${S}.add_message('topic', type, type, ${bytesOf[body]}, ${contentType(body)}, partition_key, headers, delay, transport, id)
$$;
`

const send = (S: string, body: BodyType): string => `
-- Sends a command to a queue.
create function ${S}.send(queue text, type text, body ${body}, ${options(body)}) returns uuid
language sql volatile ${settings} as $$
  select ${S}.add_message('queue', queue, type, ${bytesOf[body]}, ${contentType(body)}, partition_key, headers, delay, transport, id)
$$;
`
