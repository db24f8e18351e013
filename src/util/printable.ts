/** A name out of a file with everything escaped that a terminal would act on. */
export const printable = (name: string): string =>
  name.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones that have to go
    /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** The same for a text of several lines. */
export const printableLines = (text: string): string => text.split('\n').map(printable).join('\n');
