import { useEffect, useState } from 'preact/hooks'

/** Where the reader is: everything of it stands behind the `#`. */
export interface Place {
  readonly page: string
  readonly query: Readonly<Record<string, string>>
}

export function placeNow(): Place {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?', 2)
  return {
    page: path === '' ? 'overview' : path,
    query: Object.fromEntries(new URLSearchParams(query)),
  }
}

export function linkTo(
  page: string,
  query: Readonly<Record<string, string | null | undefined>> = {},
): string {
  const given = Object.entries(query).filter(
    (pair): pair is [string, string] => pair[1] !== undefined && pair[1] !== null && pair[1] !== '',
  )
  const text = new URLSearchParams(given).toString()
  return `#/${page}${text === '' ? '' : `?${text}`}`
}

export function go(page: string, query: Parameters<typeof linkTo>[1] = {}): void {
  location.hash = linkTo(page, query)
}

export function usePlace(): Place {
  const [place, setPlace] = useState(placeNow)
  useEffect(() => {
    const changed = (): void => setPlace(placeNow())
    addEventListener('hashchange', changed)
    return () => removeEventListener('hashchange', changed)
  }, [])
  return place
}
