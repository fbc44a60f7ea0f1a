const settings = 'set search_path = pg_catalog, pg_temp'
/**
 * As `lib/text.ts` has it. In a string with E, so that no setting of the session changes what a
 * backslash means.
 */
const CONTROL = String.raw`E'[\\u0001-\\u001f\\u007f-\\u009f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]'`
/** As in `core/validation.ts`. */
const OF_TRANSPORTS = `'^x-(?:mersal-.*|death|(?:first|last)-death-.*|delivery-count|acquired-count|opt-.*)$'`

/**
 * Step 9: the functions for other languages refuse what the API refuses, at once and in the
 * transaction of the sender. They are replaced in place, so that the rights on them stay; there is
 * no new function on which somebody had no right.
 */
export const strictContract = (S: string): string => checks(S) + checkHeaders(S) + addMessage(S)

const checks = (S: string): string => `
create or replace function ${S}.check_name(field text, given text) returns void language plpgsql immutable ${settings} as $$
begin
  if given is null or given !~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}$' then
    raise exception using errcode = '22023', message = format('mersal: %s is not a name', field),
      hint = 'It has 1 to 200 letters, digits, ''.'', ''_'', '':'', ''/'' or ''-'', and begins with a letter or a digit.';
  end if;
  if field = 'queue' and starts_with(given, 'amq.') then
    raise exception using errcode = '22023', message = 'mersal: queue begins with ''amq.''',
      hint = 'Such names belong to RabbitMQ. Give the queue another name.';
  end if;
end $$;

create or replace function ${S}.check_key(given text) returns void language plpgsql immutable ${settings} as $$
begin
  if given is not null and (octet_length(given) not between 1 and 255 or given ~ ${CONTROL}) then
    raise exception using errcode = '22023', message = 'mersal: partition_key has 1 to 255 bytes and no control characters',
      hint = 'Give a shorter key, such as the id of what the messages are about, or leave it out.';
  end if;
end $$;
`

const checkHeaders = (S: string): string => `
-- The headers as text, in lower case, checked.
create or replace function ${S}.check_headers(given jsonb) returns jsonb language plpgsql immutable ${settings} as $$
declare
  header record;
  problem text;
  remedy text := 'Choose another name.';
  result jsonb := '{}';
  bytes bigint := 0;
begin
  if given is null then return result; end if;
  if jsonb_typeof(given) <> 'object' then
    raise exception using errcode = '22023', message = 'mersal: headers must be a JSON object of texts',
      hint = 'Give, for example, ''{"tenant": "north"}''.';
  end if;
  if (select count(*) from jsonb_object_keys(given)) > 100 then
    raise exception using errcode = '22023', message = 'mersal: headers: at most 100 headers are allowed',
      hint = 'Put the values into the body.';
  end if;
  for header in select lower(e.key) as name, e.key as written, e.value, e.value #>> '{}' as content from jsonb_each(given) e loop
    if header.written !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$' or result ? header.name then
      problem := format('header name %s is not allowed or given twice', quote_literal(left(header.written, 60)));
      remedy := 'A name has 1 to 128 letters, digits, ''.'', ''_'' or ''-'', beginning with a letter or a digit.';
    elsif header.name in ('correlation-id', 'causation-id', 'sent-at', 'content-type', 'partition-key', 'sender') then
      problem := format('header %s is set by mersal itself', header.name);
    elsif header.name ~ ${OF_TRANSPORTS} then
      problem := format('header %s belongs to the transports', header.name);
    elsif jsonb_typeof(header.value) <> 'string' or octet_length(header.content) > 8192 or header.content ~ ${CONTROL} then
      problem := format('header %s must be text of at most 8192 bytes without control characters', header.name);
      remedy := 'Convert the value to text, or put it into the body.';
    end if;
    if problem is not null then
      raise exception using errcode = '22023', message = 'mersal: headers: ' || problem, hint = remedy;
    end if;
    bytes := bytes + octet_length(header.name) + octet_length(header.content);
    result := result || jsonb_build_object(header.name, header.content);
  end loop;
  if bytes > 49152 then
    raise exception using errcode = '22023', message = 'mersal: headers: all headers together must stay below 49152 bytes',
      hint = 'Put large values into the body.';
  end if;
  return result;
end $$;
`

/** 240 MB less one, which is what the relay reads of a row; the limit of every PostgreSQL store. */
const LARGEST_BODY = 250_609_664

const checkDelay = `
  if delay is not null then
    months := extract(year from delay) * 12 + extract(month from delay);
    -- So much that it may be no date is refused before it is added to one.
    if abs(months) <= 24 and abs(extract(day from delay)) <= 1000 and abs(extract(epoch from delay)) <= 86400000 then
      now_utc := clock_timestamp() at time zone 'UTC';
      delay_ms := extract(epoch from (now_utc + delay) - now_utc) * 1000;
    else
      delay_ms := -1;
    end if;
    if not (delay_ms >= 0 and (delay_ms <= 31536000000 or (months <> 0 and now_utc + delay <= now_utc + interval '1 year'))) then
      raise exception using errcode = '22023', message = 'mersal: delay must be an interval from 0 to a year',
        hint = 'Give at most ''1 year'', ''12 months'' or ''365 days''. For a later time, store the data and send the message then.';
    end if;
  end if;`

const checkContentType = `
  if content_type is null then
    raise exception using errcode = '22004', message = 'mersal: content_type is null', hint = 'Leave it out for application/json.';
  end if;
  if octet_length(content_type) not between 1 and 255 or content_type ~ ${CONTROL} then
    raise exception using errcode = '22023', message = 'mersal: content_type has 1 to 255 bytes and no control characters',
      hint = 'Give a media type, such as ''application/json'' or ''text/plain''.';
  end if;
  if content_type = 'application/vnd.mersal.bundle' then
    raise exception using errcode = '22023', message = 'mersal: content_type application/vnd.mersal.bundle belongs to the transports',
      hint = 'Give the media type of the body, such as ''application/octet-stream''.';
  end if;`

const addMessage = (S: string): string => `
create or replace function ${S}.add_message(kind text, name text, type text, body bytea, content_type text, partition_key text, headers jsonb,
  delay interval, transport text, id uuid) returns uuid
language plpgsql volatile ${settings} as $$
declare
  message_id uuid := coalesce(id, ${S}.uuidv7());
  delay_ms double precision := 0;
  months double precision;
  now_utc timestamp;
  all_headers jsonb;
begin
  perform ${S}.check_name('type', type), ${S}.check_name(kind, name), ${S}.check_name('transport', transport), ${S}.check_key(partition_key);
  if body is null then
    raise exception using errcode = '22004', message = 'mersal: body is null', hint = 'Send the JSON value null as ''null''::jsonb.';
  end if;
  if octet_length(body) > ${LARGEST_BODY} then
    raise exception using errcode = '22023', message = format('mersal: body has %s bytes, at most ${LARGEST_BODY} are allowed', octet_length(body)),
      hint = 'Put the content elsewhere and send where it is.';
  end if;
${checkContentType}
${checkDelay}
  all_headers := ${S}.check_headers(headers) || jsonb_build_object('correlation-id', message_id, 'sender', 'sql', 'content-type', content_type,
    'sent-at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
  perform ${S}.outbox_save(json_build_array(json_build_object('n', 0, 'id', message_id, 'key', partition_key, 'delay', delay_ms, 'type', type,
    'transport', transport, 'kind', kind, 'name', name, 'headers', all_headers::text, 'start', 0, 'length', octet_length(body)))::text,
    body, null, 0);
  return message_id;
end $$;
`
