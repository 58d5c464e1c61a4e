using System.Globalization;
using System.Text.Json;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Slipway.Storage.Configs;

/// <summary>A JSON or YAML text as one text for each value, by its path such as <c>model.layers[0].units</c>.</summary>
/// <remarks>Read as tokens and events, never as a tree: whoever logs a file could overflow the stack with ten thousand brackets.</remarks>
public sealed class FlatConfig
{
    private const int DepthMax = 32;
    private const int PathMax = 1000;
    private const int ValuesMax = 5000;

    /// <summary>The path of a text that is one value.</summary>
    private const string Whole = ".";

    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);
    private readonly Stack<Frame> _frames = new();

    private FlatConfig()
    {
    }

    /// <summary>Reads JSON.</summary>
    /// <param name="text">One value; comments and trailing commas are taken.</param>
    /// <param name="fault">What is wrong, without a full stop; null when it was read.</param>
    /// <returns>Null when it cannot be read.</returns>
    public static IReadOnlyDictionary<string, string>? Json(byte[] text, out string? fault) => Read(config =>
    {
        var reader = new Utf8JsonReader(text, new JsonReaderOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true });
        while (reader.Read())
        {
            switch (reader.TokenType)
            {
                case JsonTokenType.PropertyName: config.Key(reader.GetString()!); break;
                case JsonTokenType.StartObject: config.Open(isMap: true); break;
                case JsonTokenType.StartArray: config.Open(isMap: false); break;
                case JsonTokenType.EndObject or JsonTokenType.EndArray: config.Close(); break;
                case JsonTokenType.String: config.Value(reader.GetString()!, quoted: true); break;
                default: config.Value(System.Text.Encoding.UTF8.GetString(reader.ValueSpan), quoted: false); break;
            }
        }
    }, out fault);

    /// <summary>Reads YAML. An anchor's values stand where it is set; where it is used stands its name.</summary>
    /// <param name="text">One document.</param>
    /// <param name="fault">What is wrong, without a full stop; null when it was read.</param>
    /// <returns>Null when it cannot be read.</returns>
    public static IReadOnlyDictionary<string, string>? Yaml(string text, out string? fault) => Read(config =>
    {
        var documents = 0;
        for (var parser = new Parser(new StringReader(text)); parser.MoveNext();)
        {
            switch (parser.Current)
            {
                case DocumentStart when ++documents > 1: throw new FormatException("it holds more than one YAML document");
                case MappingStart: config.Open(isMap: true); break;
                case SequenceStart: config.Open(isMap: false); break;
                case MappingEnd or SequenceEnd: config.Close(); break;
                case AnchorAlias alias: config.KeyOrValue($"*{alias.Value}", quoted: false); break;
                case Scalar scalar: config.KeyOrValue(scalar.Value, scalar.Style is not (ScalarStyle.Plain or ScalarStyle.Any)); break;
            }
        }
    }, out fault);

    private static Dictionary<string, string>? Read(Action<FlatConfig> read, out string? fault)
    {
        var config = new FlatConfig();
        try
        {
            read(config);
            fault = null;
            return config._values;
        }
        catch (FormatException e)
        {
            fault = e.Message;
        }
        catch (JsonException e)
        {
            fault = $"line {e.LineNumber + 1} is not valid JSON";
        }
        catch (InvalidOperationException)
        {
            fault = "a text in it is not valid Unicode"; // Half a surrogate pair, as \ud800.
        }
        catch (YamlException e)
        {
            fault = $"line {e.Start.Line} is not valid YAML";
        }
        catch (ArgumentOutOfRangeException)
        {
            fault = "an escape in it is no character of Unicode"; // \UFFFFFFFF, which YamlDotNet hands on as it is.
        }

        return null;
    }

    private void KeyOrValue(string text, bool quoted)
    {
        if (_frames.TryPeek(out var frame) && frame is { IsMap: true, Key: null })
        {
            Key(text);
        }
        else
        {
            Value(text, quoted);
        }
    }

    private void Key(string key) => _frames.Peek().Key = key;

    private void Value(string text, bool quoted) => Add(Next(), quoted && LooksTyped(text) ? $"\"{text}\"" : text);

    private void Open(bool isMap)
    {
        if (_frames.TryPeek(out var outer) && outer is { IsMap: true, Key: null })
        {
            throw new FormatException("a key in it is a list or a mapping");
        }

        if (_frames.Count == DepthMax)
        {
            throw new FormatException($"it is nested more than {DepthMax} deep");
        }

        _frames.Push(new Frame(Next(), isMap));
    }

    private void Close()
    {
        if (_frames.Pop() is { Count: 0 } empty)
        {
            Add(empty.Path, empty.IsMap ? "{}" : "[]");
        }
    }

    // The path of what comes now, below what is open.
    private string Next()
    {
        if (!_frames.TryPeek(out var frame))
        {
            return Whole;
        }

        var index = frame.Count++;
        var key = frame.Key;
        frame.Key = null;
        var outer = frame.Path == Whole ? "" : frame.Path;
        var path = !frame.IsMap ? $"{outer}[{index.ToString(CultureInfo.InvariantCulture)}]"
            : key!.AsSpan().ContainsAny('.', '[', '"') ? $"{outer}[\"{key}\"]"
            : outer.Length == 0 ? key! : $"{outer}.{key}";
        return path.Length <= PathMax ? path : throw new FormatException($"the keys of a value are longer than {PathMax} characters together");
    }

    private void Add(string path, string value)
    {
        if (_values.Count == ValuesMax)
        {
            throw new FormatException($"it holds more than {ValuesMax} values");
        }

        _values[path] = value;
    }

    // The text "1" and the number 1 must not look the same.
    private static bool LooksTyped(string text) =>
        text is "" or "~" or "null" or "true" or "false" || double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out _);

    private sealed class Frame(string path, bool isMap)
    {
        public string Path => path;

        public bool IsMap => isMap;

        public string? Key { get; set; }

        public int Count { get; set; }
    }
}
