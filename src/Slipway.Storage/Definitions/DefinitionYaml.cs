using System.Globalization;
using Slipway.Contracts;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.RepresentationModel;

namespace Slipway.Storage.Definitions;

/// <summary>
/// A definition file as its owner reads it: every access checks and names the field, unknown keys are refused, and all faults
/// of a file are reported together.
/// </summary>
/// <remarks>A definition has <c>kind</c>, <c>name</c> and the kind's own keys at the top level.</remarks>
public sealed class DefinitionYaml
{
    // A hundred thousand days, so that adding one to an instant cannot overflow.
    private const double DurationDaysMax = 100_000;

    private const int CharactersMax = 256 * 1024;
    private const int DepthMax = 32;
    private const int FaultsShownMax = 20;

    private readonly YamlMappingNode _mapping;
    private readonly string _path;
    private readonly List<string> _faults;
    private readonly HashSet<string> _read = new(StringComparer.Ordinal);
    private readonly List<DefinitionYaml> _children = [];

    private DefinitionYaml(YamlMappingNode mapping, string path, List<string> faults)
    {
        _mapping = mapping;
        _path = path;
        _faults = faults;
    }

    /// <summary>Parses one YAML document.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: not YAML, not a mapping, or more than one document.</exception>
    public static DefinitionYaml Parse(string yaml)
    {
        try
        {
            CheckShape(yaml);
            var stream = new YamlStream();
            stream.Load(new StringReader(yaml));
            return stream.Documents is [{ RootNode: YamlMappingNode root }]
                ? new DefinitionYaml(root, "", []) { Source = yaml }
                : throw new SlipwayException(ErrorCode.InvalidArgument, "A definition is one YAML mapping with 'kind' and 'name' at the top level.");
        }
        catch (YamlException e)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"Line {e.Start.Line}: this is not valid YAML: {e.InnerException?.Message ?? e.Message}", e);
        }
        catch (ArgumentOutOfRangeException e)
        {
            // YamlDotNet hands on what \UFFFFFFFF leads to.
            throw new SlipwayException(ErrorCode.InvalidArgument, "This is not valid YAML: an escape such as \\UFFFFFFFF is no character of Unicode.", e);
        }
    }

    // Read as events, before a tree is made: as a tree, ten thousand brackets overflow the stack, and an anchor that holds
    // itself as a key never ends; either would take the whole process down.
    private static void CheckShape(string yaml)
    {
        if (yaml.Length > CharactersMax)
        {
            throw new SlipwayException(ErrorCode.InvalidArgument, $"A definition may have {CharactersMax} characters, not {yaml.Length}; shorten it, and keep data in a dataset.");
        }

        var depth = 0;
        for (var parser = new Parser(new StringReader(yaml)); parser.MoveNext();)
        {
            switch (parser.Current)
            {
                case AnchorAlias alias:
                    throw new SlipwayException(ErrorCode.InvalidArgument, $"Line {alias.Start.Line}: the alias '*{alias.Value}' is not taken in definitions; write the value out.");
                case MappingStart or SequenceStart when ++depth > DepthMax:
                    throw new SlipwayException(ErrorCode.InvalidArgument, $"Line {parser.Current.Start.Line}: lists and mappings are nested more than {DepthMax} deep; no definition needs that.");
                case MappingEnd or SequenceEnd:
                    depth--;
                    break;
            }
        }
    }

    /// <summary>The text of the whole file, for kinds that fill in parameters before they read; empty for a nested mapping.</summary>
    public string Source { get; private init; } = "";

    /// <summary>The keys in file order, for mappings whose keys are names (<see cref="Map"/> reads one).</summary>
    public IReadOnlyList<string> Keys => [.. _mapping.Children.Keys.OfType<YamlScalarNode>().Select(key => key.Value ?? "")];

    /// <summary>Line of this mapping in the file, from 1.</summary>
    public long Line => _mapping.Start.Line;

    /// <summary>Whether the key is present (and not null).</summary>
    public bool Has(string key) => Node(key) is { } node && !IsNull(node);

    /// <summary>A required text.</summary>
    public string Text(string key) => OptionalText(key) ?? Missing(key, "a text", "");

    /// <summary>A text, or null when absent.</summary>
    public string? OptionalText(string key) => Scalar(key, "a text");

    /// <summary>A required text that says something: not empty, nor blanks alone.</summary>
    public string Filled(string key) => OptionalFilled(key) ?? Missing(key, "a text", "");

    /// <summary>A text that says something, or null when absent.</summary>
    public string? OptionalFilled(string key)
    {
        var text = OptionalText(key);
        if (text is null || !string.IsNullOrWhiteSpace(text))
        {
            return text;
        }

        Fault(key, "must not be empty");
        return null;
    }

    /// <summary>A required number.</summary>
    public double Number(string key, double minimum = double.NegativeInfinity, double maximum = double.PositiveInfinity) =>
        OptionalNumber(key, minimum, maximum) ?? Missing(key, "a number", 0.0);

    /// <summary>A number in the range, or null when absent.</summary>
    public double? OptionalNumber(string key, double minimum = double.NegativeInfinity, double maximum = double.PositiveInfinity)
    {
        if (Scalar(key, "a number") is not { } text)
        {
            return null;
        }

        if (!double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) || !double.IsFinite(value) || value < minimum || value > maximum)
        {
            Fault(key, $"must be a number{Range(minimum, maximum)}, not '{text}'");
            return null;
        }

        return value;
    }

    /// <summary>A whole number in the range, or null when absent.</summary>
    public int? OptionalInteger(string key, int minimum = int.MinValue, int maximum = int.MaxValue)
    {
        if (Scalar(key, "a whole number") is not { } text)
        {
            return null;
        }

        if (!int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) || value < minimum || value > maximum)
        {
            Fault(key, $"must be a whole number{Range(minimum, maximum)}, not '{text}'");
            return null;
        }

        return value;
    }

    /// <summary>A required whole number.</summary>
    public int Integer(string key, int minimum = int.MinValue, int maximum = int.MaxValue) =>
        OptionalInteger(key, minimum, maximum) ?? Missing(key, "a whole number", 0);

    /// <summary>True or false, or null when absent.</summary>
    public bool? OptionalBool(string key)
    {
        switch (Scalar(key, "true or false"))
        {
            case null: return null;
            case "true": return true;
            case "false": return false;
            case var text:
                Fault(key, $"must be true or false, not '{text}'");
                return null;
        }
    }

    /// <summary>A duration such as <c>90s</c>, <c>15m</c>, <c>1h</c>, <c>7d</c>, or null when absent.</summary>
    public TimeSpan? OptionalDuration(string key)
    {
        if (Scalar(key, "a duration such as 15m, 1h or 7d") is not { } text)
        {
            return null;
        }

        if (TryDuration(text, out var value))
        {
            return value;
        }

        Fault(key, $"must be a duration such as 30s, 15m, 1h or 7d, not '{text}'");
        return null;
    }

    /// <summary>A required duration.</summary>
    public TimeSpan Duration(string key) => OptionalDuration(key) ?? Missing(key, "a duration such as 1h", TimeSpan.Zero);

    /// <summary>An instant or date in ISO 8601, UTC when no offset is given; null when absent.</summary>
    public DateTimeOffset? OptionalInstant(string key)
    {
        if (Scalar(key, "a date such as 2001-03-31") is not { } text)
        {
            return null;
        }

        if (DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var value))
        {
            return value;
        }

        Fault(key, $"must be a date or instant such as 2001-03-31 or 2001-03-31T06:00:00Z, not '{text}'");
        return null;
    }

    /// <summary>One of the enum's names in snake_case, or null when absent.</summary>
    public T? OptionalChoice<T>(string key) where T : struct, Enum
    {
        if (Scalar(key, "one of a list") is not { } text)
        {
            return null;
        }

        if (Enum.TryParse<T>(text.Replace("_", "", StringComparison.Ordinal), ignoreCase: true, out var value) && Enum.IsDefined(value) && !char.IsAsciiDigit(text[0]))
        {
            return value;
        }

        var names = Enum.GetNames<T>().Select(System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName);
        Fault(key, $"must be one of {string.Join(", ", names)}, not '{text}'");
        return null;
    }

    /// <summary>A list of texts; empty when absent. A single text counts as a list of one.</summary>
    public IReadOnlyList<string> Texts(string key)
    {
        switch (Node(key))
        {
            case null: return [];
            case YamlScalarNode { Value: { } single } node when !IsNull(node): return [single];
            case YamlSequenceNode sequence when sequence.All(item => item is YamlScalarNode):
                return [.. sequence.Cast<YamlScalarNode>().Select(item => item.Value ?? "")];
            case var node when IsNull(node): return [];
            default:
                Fault(key, "must be a list of texts");
                return [];
        }
    }

    /// <summary>A nested mapping, or null when absent.</summary>
    public DefinitionYaml? OptionalMap(string key)
    {
        switch (Node(key))
        {
            case null: return null;
            case YamlMappingNode mapping: return Child(mapping, key);
            case var node when IsNull(node): return null;
            default:
                Fault(key, "must be a mapping of keys and values");
                return null;
        }
    }

    /// <summary>A required nested mapping.</summary>
    public DefinitionYaml Map(string key) => OptionalMap(key) ?? Missing(key, "a mapping", new DefinitionYaml(new YamlMappingNode(), Join(key), []));

    /// <summary>A list of mappings; empty when absent.</summary>
    public IReadOnlyList<DefinitionYaml> Maps(string key)
    {
        switch (Node(key))
        {
            case null: return [];
            case YamlSequenceNode sequence when sequence.All(item => item is YamlMappingNode):
                return [.. sequence.Cast<YamlMappingNode>().Select((item, index) => Child(item, $"{key}[{index}]"))];
            case var node when IsNull(node): return [];
            default:
                Fault(key, "must be a list of mappings");
                return [];
        }
    }

    /// <summary>All keys of this mapping with their texts: free-form parameters.</summary>
    public IReadOnlyDictionary<string, string> AllTexts() => Keys.ToDictionary(key => key, Text, StringComparer.Ordinal);

    /// <summary>Records a fault of meaning at a key, such as a cycle.</summary>
    public void Fault(string key, string message) => _faults.Add($"line {(Node(key, markRead: false) ?? _mapping).Start.Line}: '{Join(key)}' {message}");

    /// <summary>Call last: refuses unknown keys and throws all faults together.</summary>
    /// <exception cref="SlipwayException">InvalidArgument: the sentence lists every fault with line and key.</exception>
    public void Done()
    {
        CollectUnknown();
        if (_faults.Count > 0)
        {
            var faults = _faults.Distinct(StringComparer.Ordinal).ToList();
            var more = faults.Count > FaultsShownMax ? $"; and {faults.Count - FaultsShownMax} more" : "";
            throw new SlipwayException(ErrorCode.InvalidArgument, $"{string.Join("; ", faults.Take(FaultsShownMax))}{more}.");
        }
    }

    internal static bool TryDuration(string text, out TimeSpan value)
    {
        value = default;
        if (text.Length < 2 || !double.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var amount))
        {
            return false;
        }

        TimeSpan? unit = text[^1] switch
        {
            's' => TimeSpan.FromSeconds(1),
            'm' => TimeSpan.FromMinutes(1),
            'h' => TimeSpan.FromHours(1),
            'd' => TimeSpan.FromDays(1),
            _ => null,
        };
        if (unit is null)
        {
            return false;
        }

        if (amount * unit.Value.TotalDays > DurationDaysMax)
        {
            return false;
        }

        value = unit.Value * amount;
        return true;
    }

    private void CollectUnknown()
    {
        foreach (var key in Keys.Where(key => !_read.Contains(key)))
        {
            var nearest = _read.OrderBy(known => Distance(known, key)).FirstOrDefault();
            var hint = nearest is not null && Distance(nearest, key) <= 2 ? $"; did you mean '{nearest}'?" : $"; known keys here: {string.Join(", ", _read.Order(StringComparer.Ordinal))}";
            Fault(key, $"is not a known key{hint}");
        }

        foreach (var child in _children)
        {
            child.CollectUnknown();
        }
    }

    private DefinitionYaml Child(YamlMappingNode mapping, string key)
    {
        var child = new DefinitionYaml(mapping, Join(key), _faults);
        _children.Add(child);
        return child;
    }

    private string? Scalar(string key, string expected)
    {
        switch (Node(key))
        {
            case null: return null;
            case YamlScalarNode scalar: return IsNull(scalar) ? null : scalar.Value;
            default:
                Fault(key, $"must be {expected}");
                return null;
        }
    }

    private T Missing<T>(string key, string expected, T fallback)
    {
        // A present but wrong value has its own fault already.
        if (!Has(key))
        {
            _faults.Add($"line {_mapping.Start.Line}: '{Join(key)}' is missing; give it {expected}");
        }

        return fallback;
    }

    private YamlNode? Node(string key, bool markRead = true)
    {
        if (markRead)
        {
            _read.Add(key);
        }

        return _mapping.Children.TryGetValue(new YamlScalarNode(key), out var node) ? node : null;
    }

    private string Join(string key) => _path.Length == 0 ? key : $"{_path}.{key}";

    private static bool IsNull(YamlNode node) => node is YamlScalarNode { Style: ScalarStyle.Plain or ScalarStyle.Any, Value: null or "" or "~" or "null" };

    private static string Range(double minimum, double maximum) => (double.IsInfinity(minimum), double.IsInfinity(maximum), minimum <= int.MinValue, maximum >= int.MaxValue) switch
    {
        (true, true, _, _) or (_, _, true, true) => "",
        (_, true, _, _) or (_, _, _, true) => $" of at least {minimum.ToString(CultureInfo.InvariantCulture)}",
        (true, _, _, _) or (_, _, true, _) => $" of at most {maximum.ToString(CultureInfo.InvariantCulture)}",
        _ => $" from {minimum.ToString(CultureInfo.InvariantCulture)} to {maximum.ToString(CultureInfo.InvariantCulture)}",
    };

    // Levenshtein, for "did you mean".
    private static int Distance(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var substitution = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(substitution, 1 + Math.Min(row[j], row[j - 1]));
            }
        }

        return row[b.Length];
    }
}
